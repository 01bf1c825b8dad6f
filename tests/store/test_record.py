"""record.json: what it may say, bytes that last, and one line for whatever is wrong with a file."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.config.settings import run_key
from harness.errors import StoreError
from harness.paths import PROJECT
from harness.store import Failure, failure_of
from harness.store.fields import METRICS, SCHEMA_VERSION, run_path
from harness.store.record import (
    LONGEST_MESSAGE,
    RunRecord,
    Spec,
    digest_of,
    dump_record,
    hide_paths,
    load_record,
)
from tests.store.making import VALUES, make_dataset, make_failed, make_metrics, make_ok, make_parts, make_spec

FIXTURE = Path(__file__).parent / "fixtures" / "record_v3.json"
PIXELS = [name for name in METRICS if name.startswith("pixel")]


def measured(value):
    return {name: {"value": one, "version": 1} for name, one in (VALUES | {"image_auroc": value}).items()}


REMEDY = "; restore it (git checkout), or move its folder out of the store and run again"


def test_every_committed_record_loads_keeps_its_key_and_its_bytes(project):
    paths = sorted((project / "results").rglob("record.json"))
    assert len(paths) >= 373
    for path in paths:
        record = load_record(path)
        spec = record.spec.model_dump()
        assert record.key == run_key(spec), path
        assert dump_record(record) == path.read_bytes(), path
        assert path.parent.as_posix().endswith(run_path(spec).as_posix()), path


def test_todays_bytes_are_those_of_the_fixture():
    """Whoever changes what a record looks like needs a new schema_version, a new fixture, and a way to read the old."""
    record = load_record(FIXTURE)
    assert record.schema_version == SCHEMA_VERSION == int(FIXTURE.stem[-1])
    assert record.values["image_auroc"] == 0.996031746031746
    assert dump_record(record) == FIXTURE.read_bytes()


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_older_record_is_read_as_todays(version):
    """The new one is written out in tests/store/fixtures; its scores are the old file's until the store is upgraded."""
    record = load_record(FIXTURE.with_name(f"record_v{version}.json"))
    upgraded = load_record(FIXTURE.with_name(f"record_v{version}_upgraded.json"))
    assert record.model_copy(update={"scores_sha256": upgraded.scores_sha256}) == upgraded
    assert (record.schema_version, record.upgraded_from["schema"]) == (SCHEMA_VERSION, version)


def test_an_old_inexact_run_never_counts_as_an_exact_one(tmp_path):
    data = json.loads(FIXTURE.with_name("record_v1.json").read_text())
    data["spec"]["inexact"] = ["bf16"]
    data["key"] = run_key(data["spec"])
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data | {"digest": digest_of(data)}))
    assert load_record(path).spec.engine == "streaming+bf16"


def test_spec_is_kept_to_the_letter():
    spec = make_spec(center_crop=None, epsilon=1, mean=[0, 0.5, 1])
    spec["model"] |= {"layers": ["a", "b"], "ratio": None, "deep": [[1, 2.0], True]}  # whatever a model has
    record = make_ok(spec)
    assert record.spec.model_dump() == spec
    assert repr(record.spec.model["epsilon"]) == "1"  # 1.0 would have another key
    assert record.key == run_key(spec) == run_key(record.spec.model_dump())
    assert set(Spec.model_fields) == set(spec)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"key": "0" * 12}, "does not belong to the spec"),
        ({"extra": 1}, "Extra inputs"),
        ({"status": "done"}, "status"),
        ({"metrics": measured(1.0000001)}, r"image_auroc is 1.0000001, not in \[0, 1\]"),
        ({"metrics": measured(float("nan"))}, "finite"),
        ({"metrics": measured(True)}, "valid number"),
        ({"metrics": {"auroc": {"value": 0.5, "version": 1}}}, "pattern"),
        ({"metrics": {"image_auroc": {"value": 0.5}}}, "version"),
        ({"metrics": {}, "intervals": {}}, "needs metrics"),
        ({"metrics_absent": {"pixel_auroc": "no masks"}}, "has a reason in metrics_absent, not both: pixel_auroc"),
        ({"memory": None, "scores_sha256": None}, "needs memory, scores_sha256"),
        ({"upgraded_from": {"schema": 3, "key": "0123456789ab"}}, "schema"),
        ({"upgraded_from": {"schema": 1, "key": "../x"}}, "key"),
        ({"indices_sha256": "AB" * 32}, "indices_sha256"),
        ({"scores_sha256": None}, "needs scores_sha256"),
        ({"error": {"type": "E", "message": "m", "stage": None}}, r"error, an ok record has no error \["),
        ({"intervals": {"image_auc": {"low": 0.1, "high": 0.2, "method": "m"}}}, "belongs to no metric"),
        ({"intervals": {"image_auroc": {"low": 0.2, "high": 0.1, "method": "m"}}}, "is above"),
        ({"thresholds": {"image_f1_max": float("inf")}}, "finite"),
        ({"timing": {"seconds": {"decode": -1.0}, "images_per_second": None}}, "greater than or equal to 0"),
        ({"engine_metrics": {"image_AUROC": 0.5}}, r"error, engine_metrics belong to the reference engine \["),
        ({"dataset": make_dataset(make_spec(), name="visa")}, r"error, dataset and spec differ in name or fingerprint"),
        (
            {"dataset": make_dataset(make_spec(), fingerprint="00" * 32)},
            "dataset and spec differ in name or fingerprint",
        ),
        ({"dataset": make_dataset(make_spec(), n_train=None, has_masks=None)}, "dataset.n_train, dataset.has_masks"),
        ({"started": "2026-11-23 16:42"}, "started"),
        ({"started": "2026-11-23T16:42:00+01:00"}, "started"),
    ],
)
def test_what_an_ok_record_may_not_say(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        RunRecord.model_validate(make_ok().model_dump() | changes)


def test_without_masks_there_are_no_pixel_metrics():
    spec = make_spec()
    images = {name: value for name, value in VALUES.items() if name not in PIXELS}
    absent = {"metrics": make_metrics(images), "metrics_absent": dict.fromkeys(PIXELS, "no masks")}
    without = make_dataset(spec, has_masks=False)
    assert make_ok(spec, dataset=without, intervals={}, **absent).values["pixel_auroc"] is None
    with pytest.raises(ValidationError, match=r"error, there are pixel metrics without masks \["):
        make_ok(spec, dataset=without)
    with pytest.raises(ValidationError, match="interval pixel_auroc belongs to no metric that has a value"):
        make_ok(spec, dataset=without, **absent)


def test_a_failed_record_knows_as_much_as_there_is_and_no_metrics():
    early = make_failed(make_spec(fingerprint=None))
    assert (early.status, early.metrics, early.dataset.n_train) == ("failed", {}, None)
    late = make_failed(dataset=make_dataset(make_spec()), memory=make_ok().memory, indices_sha256="cd" * 32)
    assert (late.dataset.n_train, late.indices_sha256) == (209, "cd" * 32)
    for name in ("metrics", "intervals", "thresholds"):
        with pytest.raises(ValidationError, match="a failed record has no metrics, intervals or thresholds"):
            make_failed(**{name: make_parts()[name]})
    with pytest.raises(ValidationError, match="a failed record needs an error"):
        RunRecord.model_validate(make_failed().model_dump() | {"error": None})


def test_known_folders_are_hidden_in_notes_and_errors(tmp_path):
    root = tmp_path / "my data"
    hide = {"dataset.root": root, "tmp": tmp_path}
    message = f"{root}/bottle/x y.png: is truncated; see '{tmp_path}/log of it.txt' or /var/log/syslog"
    record = make_failed(error=Failure(type="DataError", message=message, stage="decode"), hide=hide)
    assert record.error.message == (
        "<dataset.root>/bottle/x y.png: is truncated; see '<tmp>/log of it.txt' or /var/log/syslog"
    )
    noted = make_ok(dataset=make_dataset(make_spec(), notes=[f"in {root}"]), hide=hide)
    assert noted.dataset.notes == ["in <dataset.root>"]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("/data/mvtec/x.png, /data/mvtec.", "<root>/x.png, <root>."),
        ("/data/mvtec2 and /other/data/mvtec", "/data/mvtec2 and /other/data/mvtec"),
        (f"{Path.home()}/x", "<home>/x"),
        (f"{PROJECT}/configs", "<harness>/configs"),
        (f"{sys.prefix}/lib", "<python>/lib"),
    ],
)
def test_which_folders_are_hidden(text, hidden):
    assert hide_paths(text, {"root": Path("/data/mvtec"), "all": Path("/")}) == hidden


def test_what_an_engine_printed_is_kept_without_nan():
    told = {"image_AUROC": 0.996032, "pixel_F1Score": float("nan")}
    record = make_ok(make_spec(engine="reference"), engine_metrics=told)
    assert record.engine_metrics == {"image_AUROC": 0.996032, "pixel_F1Score": None}


def test_times_are_utc_to_the_second():
    record = make_ok(started=datetime.fromisoformat("2026-11-23T17:00:00+01:00"))
    assert (record.started, record.finished) == ("2026-11-23T16:00:00Z", "2026-11-23T16:42:20Z")


def test_failure_of_any_exception():
    assert failure_of(ValueError("two\nlines"), "fit") == Failure(type="ValueError", message="two lines", stage="fit")
    assert failure_of(MemoryError(), None).message == "MemoryError"
    assert failure_of(ValueError("x" * LONGEST_MESSAGE), None).message == "x" * LONGEST_MESSAGE
    assert failure_of(ValueError("x" * 10**6), None).message == "x" * LONGEST_MESSAGE + " …"
    unreadable = OSError(2, "No such file", "caf\udce9.png")
    assert make_failed(error=failure_of(unreadable, None)).error.message == r"[Errno 2] No such file: 'caf\udce9.png'"
    assert make_ok(dataset=make_dataset(make_spec(), notes=["caf\udce9"])).dataset.notes == [r"caf\udce9"]


def test_odd_text_survives_and_the_file_reads_well_in_a_diff(tmp_path):
    odd = 'schräg/„瓶“ \u2028 \x1b "quoted" \\ 01\r\n'
    spec = make_spec(dataset="folder", category=odd)
    path = tmp_path / "record.json"
    path.write_bytes(dump_record(make_ok(spec, dataset=make_dataset(spec, notes=["é\t\u0000"]))))
    assert load_record(path).spec.category == odd
    assert load_record(path).dataset.notes == ["é\t\u0000"]
    assert "schräg/„瓶“".encode() in path.read_bytes(), "letters stay readable in the file"
    text = dump_record(make_ok()).decode()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_the_digest_is_of_canonical_json():
    """Written out: sorted keys, no spaces, letters as they are in UTF-8, and the digest itself left out."""
    canonical = '{"a":["é瓶",1.5,null],"b":true}'.encode()
    data = {"b": True, "digest": "anything", "a": ["é瓶", 1.5, None]}
    assert digest_of(data) == hashlib.sha256(canonical).hexdigest()


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


def test_every_edit_is_noticed(refused):
    data = json.loads(FIXTURE.read_text())
    for path in leaves(data):
        message = refused(json.dumps(changed(data, path, "edited")).encode())
        assert message.endswith(REMEDY), path
        assert "was edited or damaged" in message or path == ("schema_version",), path


def test_a_field_that_is_gone_new_or_wrong_is_named_even_with_a_right_digest(refused):
    data = json.loads(FIXTURE.read_text())
    assert refused(data | {"note": "x"}) == f"note: Extra inputs are not permitted{REMEDY}"
    assert refused({key: value for key, value in data.items() if key != "timing"}) == f"timing: Field required{REMEDY}"
    assert refused(changed(data, ("metrics", "image_auroc", "value"), 1.5)).startswith("metrics.image_auroc is 1.5")
    assert refused(changed(data, ("spec", "seed"), 7)).startswith(f"key {data['key']} does not belong to the spec")
    older = json.loads(FIXTURE.with_name("record_v2.json").read_text())
    assert refused(changed(older, ("schema_version",), 1)).startswith("records of schema version 1 have no plan; ")
    assert refused(changed(older, ("spec", "seed"), 7)).startswith(f"key {older['key']} does not belong to the spec")
    assert refused(older | {"note": "x"}) == f"note: Extra inputs are not permitted{REMEDY}"
    for name in ("spec", "metrics", "intervals", "timing", "weights"):
        for broken in ({key: value for key, value in older.items() if key != name}, older | {name: 1}):
            assert refused(broken).endswith(REMEDY)
