"""Verification: what follows from the store passes, and every file that does not is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.paper.model import SMOKE
from harness.report.render import render
from harness.report.verify import compare_folders, verify
from harness.store import write_runs_csv
from scripts.verify import main
from tests.report.stores import make_examples, whole, write_store


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A store with everything that belongs to it, all in one folder."""
    store = tmp_path_factory.mktemp("verify") / "store"
    write_store(store, whole(SMOKE), make_examples())
    write_runs_csv(store)
    render(store, SMOKE, tables=store / "tables", figures=store / "figures")
    return store


@pytest.fixture
def store(rendered, tmp_path):
    return Path(shutil.copytree(rendered, tmp_path / "store"))


def faults_of(store):
    return list(verify(store, SMOKE, tables=store / "tables", figures=store / "figures").faults)


@pytest.fixture
def quick(monkeypatch, rendered):
    """Copies what was rendered once, for tests that are not about rendering."""

    def copy(store, edition, *, tables, figures):
        shutil.copytree(rendered / "tables", tables)
        shutil.copytree(rendered / "figures", figures)

    monkeypatch.setattr("harness.report.verify.render", copy)


def test_what_was_rendered_from_the_store_is_verified(store):
    verification = verify(store, SMOKE, tables=store / "tables", figures=store / "figures")
    assert verification.faults == ()
    assert verification.n_records == 10
    assert verification.n_files == 36 + 30 + 1
    local = store / "figures" / "local"
    local.mkdir()
    (local / "fig4_overlays.png").write_bytes(b"a picture of real images")
    (store / "tables" / ".gitkeep").touch()
    assert compare_folders(store / "figures", store / "figures") == []
    assert compare_folders(store / "tables", store / "tables") == []


@pytest.mark.usefixtures("quick")
def test_every_kind_of_difference_is_named(store):
    tables, figures = store / "tables", store / "figures"
    lines = (tables / "table3.md").read_text().splitlines(keepends=True)
    (tables / "table3.md").write_text("".join([*lines[:4], lines[4].replace("|", ":"), *lines[5:]]))
    (tables / "table2.csv").unlink()
    (tables / "table7.csv").write_text("made up")
    with (figures / "fig2_mvtec.png").open("ab") as file:
        file.write(b"\0")
    size = (figures / "fig2_mvtec.png").stat().st_size - 1
    assert faults_of(store) == [
        f"{tables / 'table2.csv'}: is missing: the store gives it; render it again",
        f"{tables / 'table3.md'}: is not what the store gives (from line 5 on); render it again",
        f"{tables / 'table7.csv'}: is not what the store gives at all; delete it",
        f"{figures / 'fig2_mvtec.png'}: is not what the store gives (from byte {size} on); render it again",
    ]


@pytest.mark.usefixtures("quick")
def test_the_store_itself_is_verified_too(store):
    folders = sorted(path.parent for path in store.rglob("record.json"))
    (folders[0] / "record.json").write_text("{")
    scores = (folders[1] / "scores.csv").read_text()
    (folders[1] / "scores.csv").write_text(scores.replace(",0,", ",1,", 1))
    (folders[2] / "scores.csv").unlink()
    faults = faults_of(store)
    assert [fault.split(": ")[0] for fault in faults] == [
        str(folders[0] / "record.json"),
        str(folders[1] / "scores.csv"),
        str(folders[2] / "scores.csv"),
        str(store / "runs.csv"),
    ]
    (store / "runs.csv").unlink()
    assert "runs.csv: cannot be read" in faults_of(store)[-1]


@pytest.mark.usefixtures("quick")
def test_the_script_names_the_files_and_has_its_exit_statuses(store, tmp_path, capsys):
    request = ["--store", str(store), "--edition", "smoke"]
    assert main(request) == 0
    assert capsys.readouterr().out == "verified: 10 runs, 67 files of tables and figures\n"
    (store / "tables" / "table1.tex").write_text("")
    assert main(request) == 1
    printed = capsys.readouterr()
    what = "is not what the store gives (from line 1 on); render it again"
    assert printed.err == f"{store / 'tables' / 'table1.tex'}: {what}\n"
    assert printed.out.startswith("not verified: 1 ")
    for wrong in (["--store", str(tmp_path / "none")], [*request, "--tables", str(tmp_path / "none")], ["--stor", "x"]):
        assert main(wrong) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)


@pytest.mark.usefixtures("quick")
def test_stores_within_the_store_are_verified_too(store):
    shutil.copytree(store / "runs", store / "settings" / "runs")
    shutil.copy(store / "runs.csv", store / "settings")
    verification = verify(store, SMOKE, tables=store / "tables", figures=store / "figures")
    assert (verification.faults, verification.n_records) == ((), 20)
    path = min((store / "settings").rglob("record.json"))
    path.write_text(path.read_text().replace('"image_auroc": 0.', '"image_auroc": 0.1'))
    damaged, table = faults_of(store)
    assert damaged.startswith(f"{path}: was edited or damaged after it was written")
    assert table.startswith(f"{store / 'settings' / 'runs.csv'}: is not the table of the records")


def test_a_store_of_which_nothing_was_made_is_verified_alone(store, capsys):
    shutil.rmtree(store / "tables")
    shutil.rmtree(store / "figures")
    assert main(["--store", str(store)]) == 0
    assert capsys.readouterr().out == "verified: 10 runs, 0 files of tables and figures\n"
    assert main(["--store", str(store), "--tables", str(store / "tables")]) == 2
    (store / "runs.csv").unlink()
    assert main(["--store", str(store)]) == 1
