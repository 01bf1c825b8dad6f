"""`python -m harness` from end to end on drawn images: what it leaves, what it prints, how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.__main__ import main
from harness.store import load_frame
from tests.drawing import draw_mvtec_category

QUICK = (
    "preprocessing.resize=64",
    "preprocessing.center_crop=null",
    "model.n_features=20",
    "metrics.bootstrap_samples=20",
)
"""Small maps: what is tested here is the way, not the numbers."""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in this process, from an empty working folder; returns status, output and error lines."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        assert list(folder.iterdir()) == [], "something was written into the working folder"
        return status, out, err

    return call


@pytest.fixture
def request_for(drawn_mvtec, tmp_path):
    """Arguments of a quick run on the drawn bottle with random weights, into a store of the test's own."""
    return ["dataset=mvtec", f"dataset.root={drawn_mvtec}", "category=bottle", "backbone.weights=random",
            f"store={tmp_path / 'out'}", *QUICK]  # fmt: skip


def records(store: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(store.glob("runs/**/record.json"))]


def one_line_error(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def test_a_run_leaves_a_record_and_the_second_does_nothing(run, request_for, tmp_path):
    store = tmp_path / "out"
    status, out, err = run(*request_for)
    assert status == 0
    assert out.startswith("ok")
    assert "209" in one_line_error(err), "the official counts differ, and nobody says so"
    (record,) = records(store)
    folder = next(store.glob("runs/mvtec/bottle/padim-resnet18/seed42-*"))
    assert folder.name == f"seed42-{record['key']}"
    assert sorted(path.name for path in folder.iterdir()) == ["examples.npz", "record.json", "scores.csv"]
    dataset = record["dataset"]
    assert (dataset["n_train"], dataset["n_test_normal"], dataset["n_test_anomalous"]) == (12, 4, 6)
    assert len(record["metrics"]) >= 7
    assert {"image_auroc", "image_f1_strict", "pixel_auroc", "pixel_aupro"} <= set(record["intervals"])
    assert any("official" in note for note in dataset["notes"])
    assert str(tmp_path) not in json.dumps(record)
    with np.load(folder / "examples.npz") as examples:
        assert examples["images"].shape == (4, 64, 64, 3)
        assert examples["labels"].tolist() == [0, 0, 1, 1]

    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    status, out, err = run(*request_for)
    assert (status, err) == (0, "")
    assert "nothing to do" in out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    status, out, _ = run(*request_for, "seeds=[42,43]", "dry_run=true")
    assert status == 0
    first, second, last = out.splitlines()
    assert first.split()[:2] == [record["key"], "done"]
    assert "to do" in second
    assert last.startswith("2 runs, 1 done, 1 to do")
    assert len(records(store)) == 1


def test_a_stored_metric_that_was_asked_for_otherwise_is_not_shown_and_named(run, request_for, tmp_path):
    few = ["seeds=[1,2]", "dataset.limit=4"]
    status, out, _ = run(*request_for, *few)
    assert status == 0
    assert "@0.3" in out
    kept = records(tmp_path / "out")
    status, out, err = run(*request_for, *few, "metrics.aupro_fpr_limit=0.1")
    assert status == 0
    assert "pixel_aupro (it was made with metrics.aupro_fpr_limit=0.3); refresh=true makes it again" in one_line_error(
        err
    )
    aupros = [line.split()[-3] for line in out.splitlines() if " done " in line and "nothing" not in line]
    assert aupros == ["-", "-"], "AUPRO to .3 under the heading @0.1"
    assert records(tmp_path / "out") == kept


def test_seeds_share_a_pass_and_give_what_each_gives_alone_bit_for_bit(run, request_for, tmp_path):
    assert run(*request_for, "seeds=[1,2]", "dataset.limit=4")[0] == 0
    alone = [argument for argument in request_for if not argument.startswith("store=")]
    assert run(*alone, "seed=2", "dataset.limit=4", "workers=1", f"store={tmp_path / 'alone'}")[0] == 0
    together = {record["spec"]["seed"]: record for record in records(tmp_path / "out")}
    (two,) = records(tmp_path / "alone")
    assert sorted(together) == [1, 2]
    for name in ("metrics", "intervals", "scores_sha256"):
        assert together[2][name] == two[name]
    assert together[1]["indices_sha256"] != two["indices_sha256"]
    dataset = two["dataset"]
    assert (dataset["n_train"], dataset["n_test_normal"] + dataset["n_test_anomalous"], dataset["limit"]) == (4, 4, 4)


def test_a_sweep_goes_on_past_a_failure_and_lists_it_last(run, request_for, drawn_mvtec, tmp_path):
    for category in ("cable", "hazelnut"):
        draw_mvtec_category(drawn_mvtec / category, seed=1)
    broken = drawn_mvtec / "cable/train/good/003.png"
    broken.write_bytes(broken.read_bytes()[:200])
    sweep = [argument for argument in request_for if not argument.startswith("category=")]
    status, out, err = run(*sweep, "category=bottle,cable,hazelnut")
    assert status == 1
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["ok", "failed", "ok"]
    assert "cable/train/good/003.png" in err.splitlines()[-1]
    assert "Traceback" not in err
    by_category = {record["spec"]["category"]: record for record in records(tmp_path / "out")}
    assert by_category["cable"]["status"] == "failed"
    assert by_category["cable"]["error"]["stage"] == "fit"
    assert by_category["hazelnut"]["status"] == by_category["bottle"]["status"] == "ok"

    draw_mvtec_category(drawn_mvtec / "cable", seed=1)  # mended: only what is missing runs
    status, out, _ = run(*sweep, "category=bottle,cable,hazelnut")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["done", "ok", "done"]


def test_a_category_without_masks_runs_at_image_level(run, request_for, drawn_mvtec, tmp_path):
    shutil.rmtree(drawn_mvtec / "bottle/ground_truth")
    assert run(*request_for)[0] == 0
    (record,) = records(tmp_path / "out")
    assert record["dataset"]["has_masks"] is False
    assert "image_auroc" in record["metrics"]
    assert "pixel_auroc" not in record["metrics"]
    assert "mask" in record["metrics_absent"]["pixel_auroc"]


@pytest.mark.parametrize("name", ["01", "part, left = [a] 'b' \"c\" ü"])
def test_odd_names_and_paths_load_and_run(run, request_for, drawn_mvtec, tmp_path, name):
    root = tmp_path / "a b, c=[d] 'e' \"f\" ü ${g} #&"
    draw_mvtec_category(root / name, n_train=4, n_good=2, n_bad=2, size=64)
    store = tmp_path / "out, ü = [1]"
    quoted = '"' + name.replace('"', '\\"') + '"' if "," in name else name
    status, _, err = run(
        "dataset=folder", f"dataset.root={root}", f"category={quoted}", f"store={store}",
        "backbone.weights=random", *QUICK,
    )  # fmt: skip
    assert (status, err) == (0, "")
    frame = load_frame(store)
    assert frame["category"].tolist() == [name]
    assert frame["status"].tolist() == ["ok"]


def test_data_that_cannot_be_used_fails_with_one_line_and_a_record(run, request_for, drawn_mvtec, tmp_path):
    Image.new("L", (10, 10), 255).save(drawn_mvtec / "bottle/ground_truth/blot/000_mask.png")
    status, out, err = run(*request_for)
    assert status == 1
    assert "000_mask.png" in one_line_error(out + err)
    (record,) = records(tmp_path / "out")
    assert record["status"] == "failed"
    assert "000_mask.png" in record["error"]["message"]
    assert str(tmp_path) not in json.dumps(record)


def test_help_version_and_configuration_are_printed(run):
    status, out, _ = run("--help")
    assert status == 0
    assert "backbone.weights" in out
    assert "Exit status" in out
    assert run("--version")[0] == 0
    status, out, _ = run("--cfg", "job", "category=01", "preprocessing.resize=128")
    assert status == 0
    assert "category: '01'" in out


def test_help_and_refusals_load_nothing_heavy(tmp_path):
    code = """
import sys
from harness.__main__ import main

for request, status in (["--help"], 0), (["sedd=1"], 2), (["category=x", "dataset.root=/nowhere"], 2):
    assert main(request) == status
heavy = {'torch', 'timm', 'anomalib', 'pandas', 'matplotlib', 'lightning'}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_it_runs_from_any_folder_as_a_process(tmp_path):
    words = ["category=x", "dataset.root=/nowhere"]
    done = subprocess.run([sys.executable, "-m", "harness", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert one_line_error(done.stderr).startswith("error: ")
