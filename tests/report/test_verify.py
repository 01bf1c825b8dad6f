"""Verification: what follows from the store passes, and every file that does not is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.report.render import compare_folders, verify
from scripts.verify import main
from tests.papers.making import PUBLISHED, SMOKE

ELSEWHERE = """
import sys
from scripts.verify import main
status = main(["--store", sys.argv[1], "--edition", "smoke"])
heavy = {"torch", "torchvision", "timm", "anomalib", "lightning", "matplotlib.pyplot"} & set(sys.modules)
sys.exit(status or len(heavy))
"""


@pytest.fixture
def store(rendered, tmp_path):
    return Path(shutil.copytree(rendered, tmp_path / "store"))


@pytest.fixture
def quick(monkeypatch, rendered):
    """Copies what was rendered once, for tests that are not about rendering."""

    def copy(store, published, edition, *, tables, figures):
        shutil.copytree(rendered / "tables", tables)
        shutil.copytree(rendered / "figures", figures)

    monkeypatch.setattr("harness.report.render.render", copy)


def faults_of(store):
    return list(verify(store, PUBLISHED, SMOKE, tables=store / "tables", figures=store / "figures").faults)


def test_another_process_gives_the_same_bytes_without_torch(rendered, tmp_path, project):
    """With another hash seed, time zone, working folder and matplotlibrc."""
    settings = "font.size: 30\nsvg.fonttype: none\nimage.lut: 7\ntext.usetex: False\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "TZ": "Asia/Tokyo", "PYTHONPATH": str(project)}
    environment.pop("SOURCE_DATE_EPOCH", None)
    command = [sys.executable, "-c", ELSEWHERE, str(rendered)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "verified: 10 runs, 67 files of tables and figures\n"


def test_pictures_of_real_images_and_hidden_files_are_passed_over(store):
    local = store / "figures" / "local"
    local.mkdir()
    (local / "fig4_overlays.png").write_bytes(b"a picture of real images")
    (store / "tables" / ".gitkeep").touch()
    for name in ("figures", "tables"):
        assert compare_folders(store / name, store / name) == []


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
    verification = verify(store, PUBLISHED, SMOKE, tables=store / "tables", figures=store / "figures")
    assert (verification.faults, verification.n_records) == ((), 20)
    path = min((store / "settings").rglob("record.json"))
    path.write_text(path.read_text().replace('"value": 0.', '"value": 0.1'))
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


@pytest.mark.usefixtures("quick")
def test_a_store_with_a_page_alone_is_verified_without_its_figures(store, capsys):
    shutil.rmtree(store / "tables")
    assert main(["--store", str(store), "--edition", "smoke"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "verified: 10 runs, 0 files of tables and figures\n"
    assert printed.err.startswith("note: of tables and figures only one is there")
