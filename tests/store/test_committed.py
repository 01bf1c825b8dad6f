"""The committed records: every one loads, keeps its key, and would be written as it lies there."""

from __future__ import annotations

from harness.config import run_key
from harness.store.fields import run_path
from harness.store.record import dump_record, load_record


def test_every_committed_record_loads_keeps_its_key_and_its_bytes(project):
    paths = sorted((project / "results").rglob("record.json"))
    assert len(paths) >= 373
    for path in paths:
        record = load_record(path)
        spec = record.spec.model_dump()
        assert record.key == run_key(spec), path
        assert dump_record(record) == path.read_bytes(), path
        assert path.parent.as_posix().endswith(run_path(spec).as_posix()), path
