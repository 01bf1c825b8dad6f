"""record.json: bytes that last, and one line for whatever is wrong with a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store.record import digest_of, dump_record, load_record
from harness.store.fields import SCHEMA_VERSION
from tests.store.making import make_dataset, make_failed, make_ok, make_spec

FIXTURE = Path(__file__).parent / "fixtures" / "record_v1.json"


def leaves(value, path=()):
    """Paths of all scalars, empty lists and empty objects in JSON data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    return inner or [path]


def changed(data, path, new):
    copy = json.loads(json.dumps(data))
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = new
    return copy


@pytest.fixture
def refused(tmp_path):
    """Load a file of these bytes (or this data, with its digest put right), expecting one line that names the file."""

    def load(content: bytes | dict) -> str:
        if isinstance(content, dict):
            content = json.dumps(content | {"digest": digest_of(content)}).encode()
        path = tmp_path / "record.json"
        path.write_bytes(content)
        with pytest.raises(StoreError) as caught:
            load_record(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return load


@pytest.mark.parametrize("record", [make_ok(), make_failed(), make_failed(make_spec(fingerprint=None))])
def test_round_trip_is_exact(record, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(dump_record(record))
    assert load_record(path) == record
    assert dump_record(load_record(path)) == path.read_bytes()


def test_odd_text_survives(tmp_path):
    odd = 'schräg/„瓶“ \u2028 \x1b "quoted" \\ 01\r\n'
    spec = make_spec(dataset="folder", category=odd)
    record = make_ok(spec, dataset=make_dataset(spec, notes=["é\t\u0000"]))
    path = tmp_path / "record.json"
    path.write_bytes(dump_record(record))
    assert load_record(path).spec.category == odd
    assert "schräg/„瓶“".encode() in path.read_bytes(), "letters stay readable in the file"
    assert load_record(path).dataset.notes == ["é\t\u0000"]


def test_the_file_reads_well_in_a_diff():
    text = dump_record(make_ok()).decode()
    assert text.endswith("}\n")
    assert len(text) < 8192
    data = json.loads(text)
    assert list(data) == sorted(data)
    assert text == json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert max(map(len, text.splitlines())) < 120


def test_a_record_of_schema_1_still_loads():
    record = load_record(FIXTURE)
    assert record.status == "ok"
    assert record.schema_version == 1
    assert record.values["image_auroc"] == 0.996031746031746
    assert record.spec.category == "01"
    assert record.key == FIXTURE.read_text().split('"key": "')[1][:12]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_todays_bytes_are_those_of_every_schema(version):
    """Whoever changes what a record looks like needs a new schema_version, a new fixture, and a way to read the old."""
    fixture = FIXTURE.with_name(f"record_v{version}.json")
    record = load_record(fixture)
    assert record.schema_version == version
    assert record.values["image_auroc"] == 0.996031746031746
    assert dump_record(record) == fixture.read_bytes()


def test_a_record_of_a_schema_that_had_no_such_field_is_refused(refused):
    data = json.loads(FIXTURE.with_name("record_v2.json").read_text())
    complaint = refused(changed(data, ("schema_version",), 1))
    assert complaint.startswith("records of schema version 1 have no plan; ")


@pytest.mark.parametrize("path", leaves(json.loads(FIXTURE.read_text())), ids=lambda path: ".".join(map(str, path)))
def test_every_edit_is_noticed(path, refused):
    data = json.loads(FIXTURE.read_text())
    message = refused(json.dumps(changed(data, path, "edited")).encode())
    assert "digest does not match" in message or path == ("schema_version",)


def test_an_edited_metric_is_noticed_and_says_what_to_do(refused):
    text = FIXTURE.read_text().replace("0.996031746031746", "0.999931746031746")
    assert refused(text.encode()) == (
        "was edited or damaged after it was written (its digest does not match); "
        "restore it (git checkout), or delete its folder and run again"
    )


def test_a_field_that_is_gone_or_new_is_noticed_even_with_a_right_digest(refused):
    data = json.loads(FIXTURE.read_text())
    assert refused(data | {"note": "x"}).startswith("note: Extra inputs")
    assert refused({key: value for key, value in data.items() if key != "timing"}).startswith("timing: Field required")
    assert refused(changed(data, ("metrics", "image_auroc"), 1.5)).startswith(
        "metrics.image_auroc: Input should be less"
    )
    (key,) = {data["key"]}
    assert refused(changed(data, ("spec", "seed"), 7)).startswith(f"key {key} does not belong to the spec")


def test_a_newer_schema_says_update(refused):
    data = json.loads(FIXTURE.read_text())
    newer = SCHEMA_VERSION + 1
    assert refused(changed(data, ("schema_version",), newer)) == (
        f"was written by a newer harness (schema_version {newer}, this one reads up to {SCHEMA_VERSION}); "
        "update the harness"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"\0" * 4096,  # what a power cut leaves on some file systems
        b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n",
        b'{"schema_version": 1, "schema_version": 1}',
        b'{"schema_version": NaN}',
        b'{"schema_version": Infinity}',
        b"[" * 100_000,
        FIXTURE.read_bytes()[:-200],
        FIXTURE.read_bytes() * 2,
    ],
    ids=["empty", "cut", "list", "null", "binary", "zeros", "merge", "twins", "nan", "inf", "deep", "short", "double"],
)
def test_what_is_no_json_of_a_record(content, refused):
    assert refused(content).startswith("is not the JSON of a record")


@pytest.mark.parametrize("version", [None, "1", True, 0, -1, 1.0])
def test_what_has_no_schema_version_is_no_record(version, refused):
    assert refused({"schema_version": version}).startswith("is no record of this harness")
    assert refused({}).startswith("is no record of this harness")


def test_a_folder_in_the_place_of_the_file(tmp_path):
    with pytest.raises(StoreError, match=r"cannot be read \(Is a directory\)"):
        load_record(tmp_path)


def test_the_digest_is_of_canonical_json():
    """Written out: sorted keys, no spaces, letters as they are in UTF-8, and the digest itself left out."""
    canonical = '{"a":["é瓶",1.5,null],"b":true}'.encode()
    data = {"b": True, "digest": "anything", "a": ["é瓶", 1.5, None]}
    assert digest_of(data) == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_has_no_number_for_has_no_digest(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"a": value})


def test_twins_are_said_to_be_twins(refused):
    assert refused(b'{"schema_version": 1, "schema_version": 1}').startswith(
        "is not the JSON of a record (a key stands there twice); "
    )


def test_half_a_character_is_in_no_record(refused):
    assert refused(b'{"schema_version": 1, "key": "\\ud800"}').startswith(
        "holds what no record can hold ('utf-8' codec"
    )


def test_what_is_no_number_is_named(refused):
    assert refused(b'{"schema_version": NaN}').startswith("is not the JSON of a record (NaN is not a number); ")
