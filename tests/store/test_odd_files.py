"""A store from elsewhere may have anything in a file's place: pipes, devices and files without end are one line."""

from __future__ import annotations

import io
import os
import zipfile

import pytest

from harness.errors import StoreError
from harness.store import Store
from harness.store import record as codec_module
from harness.store import scores as scores_module
from harness.store.record import load_record
from harness.store.scores import read_examples, read_scores, sha256_of
from tests.store.making import make_ok, make_scores

pytestmark = pytest.mark.timeout(30)
READERS = [load_record, read_scores, read_examples]


@pytest.fixture(params=["pipe", "/dev/zero"])
def odd(request, tmp_path):
    """A path at which reading never ends."""
    if request.param == "pipe":
        os.mkfifo(tmp_path / "odd")
    else:
        (tmp_path / "odd").symlink_to(request.param)
    return tmp_path / "odd"


@pytest.mark.parametrize("read", READERS)
def test_pipes_and_devices_are_never_read(odd, read):
    with pytest.raises(StoreError, match="no plain file"):
        read(odd)


def test_a_device_has_no_sha256(odd):
    with pytest.raises(OSError, match="no plain file"):
        sha256_of(odd)


@pytest.mark.parametrize("name", ["record.json", "scores.csv"])
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_a_store_with_one_names_it(tmp_path, name, target):
    store, record = Store(tmp_path / "store"), make_ok()
    store.write(record, make_scores())
    path = store.run_folder(record.spec.model_dump()) / name
    path.unlink()
    if target == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    with pytest.raises(StoreError, match=f"{name}: .*no plain file"):
        store.done(record.spec.model_dump())
    assert len(store.records().records) == (name != "record.json")
    assert len(store.records().problems) == (name == "record.json")


@pytest.mark.parametrize("read", READERS)
def test_a_file_beyond_all_bounds_is_not_read(tmp_path, monkeypatch, read):
    monkeypatch.setattr(codec_module, "LARGEST", 1000)
    monkeypatch.setattr(scores_module, "LARGEST", 1000)
    (tmp_path / "large").write_bytes(bytes(1001))
    with pytest.raises(StoreError, match="it has 1001 bytes, and 1000 are the most"):
        read(tmp_path / "large")


def test_examples_that_unpack_without_end_are_not_unpacked(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("maps.npy", "w") as file:
        for _ in range(260):
            file.write(bytes(2**20))
    (tmp_path / "examples.npz").write_bytes(buffer.getvalue())
    assert len(buffer.getvalue()) < 300_000
    with pytest.raises(StoreError, match="unpacks to more than"):
        read_examples(tmp_path / "examples.npz")


def test_runs_csv_holds_no_formula(tmp_path):
    from harness.store import write_runs_csv
    from tests.store.making import make_spec

    store = Store(tmp_path)
    record = make_ok(make_spec(category="=HYPERLINK(1)"), weights="@x")
    store.write(record, make_scores())
    write_runs_csv(store)
    text = (tmp_path / "runs.csv").read_text()
    assert ",'=HYPERLINK(1)," in text
    assert ",'@x," in text
