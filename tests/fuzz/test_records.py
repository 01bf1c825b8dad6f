"""record.json, scores.csv and examples.npz: whatever lies in their place is what was written, or one line."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.store import Failure, Store
from harness.store.frame import runs_csv
from harness.store.record import digest_of, dump_record, load_record
from harness.store.scores import examples_bytes, read_examples, read_scores
from tests.fuzz.strategies import changed, damaged, json_values, unicode_texts
from tests.fuzz.target import answer, fuzz
from tests.store.making import make_failed, make_ok, make_scores, make_spec

OK, FAILED = make_ok(), make_failed()
WHOLE = {dump_record(OK): OK, dump_record(FAILED): FAILED}
DATA = [json.loads(whole) for whole in WHOLE]
SCORES = make_scores()
NPZ = examples_bytes({"maps": np.arange(12, dtype=np.float32).reshape(1, 3, 4), "names": np.array(["a/é.png"])})


@pytest.fixture
def place(tmp_path):
    """A file that each case overwrites."""
    return tmp_path / "input"


def load(place, content: bytes):
    place.write_bytes(content)
    return answer(load_record, place, refusals=(StoreError,))


@fuzz(120, data=st.sampled_from(DATA).flatmap(changed) | json_values)
def test_a_changed_record_under_a_right_digest_is_refused_or_harmless(place, data):
    """Whoever edits a record can also compute its digest; the record must still be one, and its table plain cells."""
    if isinstance(data, dict):
        with suppress(ValueError, RecursionError):  # what has no canonical JSON has no digest
            data["digest"] = digest_of(data)
    record = load(place, json.dumps(data).encode())
    if record is not None:
        plain_table([record])


@fuzz(25, name=unicode_texts, message=unicode_texts)
def test_names_of_a_record_are_plain_cells_of_runs_csv(tmp_path_factory, name, message):
    """Names come from folders, messages from libraries: what a record can hold comes back, and runs.csv is harmless."""
    spec = make_spec(category=name or "x")
    record = make_failed(spec, error=Failure(type="X", message=message or "x", stage="features"))
    plain_table([record])
    store = Store(tmp_path_factory.mktemp("store", numbered=True))
    answer(store.write, record)
    assert store.records().records == (record,)
    folder = store.run_folder(record.spec.model_dump())
    assert folder.resolve().is_relative_to(store.path.resolve() / "runs")


def plain_table(records):
    rows = list(csv.reader(io.StringIO(answer(runs_csv, records).decode(), newline=""), strict=True))
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in rows[1]:
        assert cell.lstrip()[:1] not in tuple("=+@＝＋－＠")
        assert not cell.startswith("-") or float(cell) <= 0


def npz(header: bytes, data: bytes = b"") -> bytes:
    """An .npz whose one member has this header."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("maps.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data)
    return buffer.getvalue()


@fuzz(250, content=damaged(*WHOLE, SCORES.to_csv(), NPZ) | st.binary(max_size=60))
@example(b'{"schema_version": 1, "x": "\\ud800"}')
@example(b'{"schema_version": 1, "x": 1e999}')
@example(b'{"schema_version": 1, "x": ' + b"[" * 900 + b"]" * 900 + b"}")
@example(b"[" * 100_000)
@example(b'{"schema_version": ' + b"9" * 5000 + b"}")
@example(b"path,label,score\na," + b"9" * 30 + b",1\n")
@example(b"path,label,score\n" + b"a" * 140_000 + b",0,1\n")
@example(b"path,label,score\na,0,1\x00\n")
@example(npz(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}\n"))
@example(npz(b"{'descr': '<f4', 'fortran_order': False, 'shape': (268435456,)}\n"))
@example(npz(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"cos\nsystem\n(S'id'\ntR."))
@example(npz(b"(" * 5000))
@example(npz(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n"))
def test_whatever_lies_in_a_files_place_is_refused_or_says_the_same(place, content):
    record = load(place, content)
    assert record is None or record in WHOLE.values()
    table = answer(read_scores, place, refusals=(StoreError,))
    assert table is None or np.isfinite(table.scores).all()
    arrays = answer(read_examples, place, refusals=(StoreError,))
    assert arrays is None or all(not array.dtype.hasobject for array in arrays.values())
