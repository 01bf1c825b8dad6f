"""A store of the smoke edition with everything that belongs to it, made once for all tests of the report."""

from __future__ import annotations

import pytest

from harness.report.render import render
from harness.store import write_runs_csv
from tests.papers.making import PUBLISHED, SMOKE
from tests.report.stores import make_examples, whole, write_store


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """The store's folder, with tables/, figures/ and report.html in it; nothing may be changed there."""
    store = tmp_path_factory.mktemp("rendered") / "store"
    write_store(store, whole(SMOKE), make_examples())
    write_runs_csv(store)
    done = render(
        store, PUBLISHED, SMOKE, tables=store / "tables", figures=store / "figures", report=store / "report.html"
    )
    assert len(done.files) == 36 + 30 + 1 + 1
    return store
