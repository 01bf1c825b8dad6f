"""What importing and asking the store loads: help, refusals and skips must come quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest

import harness.store

HEAVY = ("torch", "pandas", "pydantic", "anomalib", "lightning", "timm", "matplotlib", "rich", "scipy")


def loaded(code: str) -> set[str]:
    """Which of the heavy libraries are loaded after running code in a fresh interpreter."""
    code += f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_store_loads_nothing_heavy():
    assert loaded("import harness.store") == set()


def test_asking_for_what_is_not_there_loads_nothing_heavy(tmp_path):
    code = f"""
from harness.store import Store
store = Store({str(tmp_path / "store")!r})
store.check_writable()
assert store.records().records == ()
from harness.store.store import _load
assert _load(store.path) is None
"""
    assert loaded(code) == set()


def test_touching_records_loads_pydantic_only():
    assert loaded("from harness.store import RunRecord, environment, new_record; environment(threads=1)") == {
        "pydantic"
    }


def test_runs_csv_loads_no_pandas(tmp_path):
    assert loaded(f"import harness.store; harness.store.write_runs_csv({str(tmp_path)!r})") == set()


def test_load_frame_loads_pandas_and_no_torch(tmp_path):
    code = f"import harness.store; harness.store.load_frame({str(tmp_path)!r})"
    assert "pandas" in loaded(code)
    assert "torch" not in loaded(code)


def test_every_public_name_is_there():
    for name in harness.store.__all__:
        assert getattr(harness.store, name) is not None
    assert set(harness.store._HOME) == set(harness.store.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_farme'"):
        _ = harness.store.load_farme
