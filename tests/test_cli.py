"""`python -m harness` from end to end on drawn images: what it leaves, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.__main__ import main
from harness.store import load_frame
from tests.drawing import draw_mvtec_category

QUICK = ("protocol.resize=64", "protocol.center_crop=null", "n_features=20", "metrics.bootstrap_samples=20")
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
    folder = next(store.glob("runs/mvtec/bottle/resnet18/seed42-*"))
    assert folder.name == f"seed42-{record['key']}"
    assert sorted(path.name for path in folder.iterdir()) == ["examples.npz", "record.json", "scores.csv"]
    dataset = record["dataset"]
    assert (dataset["n_train"], dataset["n_test_normal"], dataset["n_test_anomalous"]) == (12, 4, 6)
    assert all(record["metrics"][name] is not None for name in record["metrics"])
    assert set(record["metrics"]) <= set(record["intervals"])
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


def test_an_empty_store_gets_the_same_numbers_bit_for_bit(run, request_for, tmp_path):
    run(*request_for)
    elsewhere = [argument for argument in request_for if not argument.startswith("store=")]
    run(*elsewhere, f"store={tmp_path / 'again'}", "workers=1")
    (one,), (two,) = records(tmp_path / "out"), records(tmp_path / "again")
    assert one["metrics"] == two["metrics"]
    assert one["intervals"] == two["intervals"]
    assert one["scores_sha256"] == two["scores_sha256"]


def test_seeds_share_a_pass_and_give_what_each_gives_alone(run, request_for, tmp_path):
    assert run(*request_for, "seeds=[1,2]")[0] == 0
    alone = [argument for argument in request_for if not argument.startswith("store=")]
    assert run(*alone, "seed=2", f"store={tmp_path / 'alone'}")[0] == 0
    together = {record["spec"]["seed"]: record for record in records(tmp_path / "out")}
    (two,) = records(tmp_path / "alone")
    assert sorted(together) == [1, 2]
    assert together[2]["metrics"] == two["metrics"]
    assert together[2]["scores_sha256"] == two["scores_sha256"]
    assert together[1]["indices_sha256"] != two["indices_sha256"]


def test_a_dry_run_lists_keys_and_runs_nothing(run, request_for, tmp_path):
    run(*request_for)
    (record,) = records(tmp_path / "out")
    status, out, _ = run(*request_for, "seeds=[42,43]", "dry_run=true")
    assert status == 0
    first, second, last = out.splitlines()
    assert first.split()[:2] == [record["key"], "done"]
    assert "to do" in second
    assert last.startswith("2 runs, 1 done, 1 to do")
    assert len(records(tmp_path / "out")) == 1


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
    assert record["metrics"]["image_auroc"] is not None
    assert record["metrics"]["pixel_auroc"] is None
    assert "mask" in record["metrics_absent"]["pixel_auroc"]


@pytest.mark.parametrize("name", ["01", "1_0", "1e3", "part, left = [a] 'b' \"c\" ü"])
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


def test_limit(run, request_for, tmp_path):
    assert run(*request_for, "dataset.limit=4")[0] == 0
    (record,) = records(tmp_path / "out")
    dataset = record["dataset"]
    assert (dataset["n_train"], dataset["n_test_normal"] + dataset["n_test_anomalous"]) == (4, 4)
    assert dataset["limit"] == 4


def test_wrong_requests_end_with_2_and_one_line(run, request_for, drawn_mvtec, tmp_path):
    def refused(*changes: str) -> str:
        given = {change.partition("=")[0] for change in changes}
        base = [argument for argument in request_for if argument.partition("=")[0] not in given]
        status, out, err = run(*base, *changes)
        assert status == 2, (changes, out, err)
        assert out == ""
        return one_line_error(err)

    assert "/nowhere" in refused("dataset.root=/nowhere")
    assert "did you mean bottle" in refused("category=botle")
    assert "cable" in refused("category=cable")  # in the catalog, but not in this folder
    assert "n_features=449" in refused("n_features=449")
    assert "did you mean resnet18" in refused("backbone=resnet81")
    assert "sedd=1" in refused("sedd=1")
    assert "+sedd=1" in refused("+sedd=1")
    assert "seed=abc" in refused("seed=abc")
    assert "seed and seeds" in refused("seed=1", "seeds=[1]")
    assert "experiment=tabel1" in refused("experiment=tabel1")
    assert "--sede" in refused("--sede")
    assert "launcher=nope" in refused("hydra/launcher=nope")
    (tmp_path / "file").write_text("")
    assert "file" in refused(f"store={tmp_path / 'file' / 'store'}")
    assert not (tmp_path / "out").exists() or records(tmp_path / "out") == []


def test_weights_of_another_network_are_refused_and_leave_no_record(run, request_for, tmp_path):
    from safetensors.numpy import save_file

    save_file({"conv1.weight": np.zeros((8, 3, 3, 3), np.float32)}, tmp_path / "w.safetensors")
    base = [argument for argument in request_for if not argument.startswith("backbone.weights")]
    status, out, err = run(*base, f"backbone.weights={tmp_path / 'w.safetensors'}")
    assert status == 2
    assert "of another network: conv1.weight" in out + err
    assert "Traceback" not in out + err
    assert records(tmp_path / "out") == []


def damage_truncate(folder: Path) -> None:
    path = folder / "train/good/000.png"
    path.write_bytes(path.read_bytes()[:150])


def damage_text(folder: Path) -> None:
    (folder / "test/good/000.png").write_text("not an image")


def damage_mask_size(folder: Path) -> None:
    Image.new("L", (10, 10), 255).save(folder / "ground_truth/blot/000_mask.png")


def damage_mask_missing(folder: Path) -> None:
    (folder / "ground_truth/blot/000_mask.png").unlink()


def damage_no_training_images(folder: Path) -> None:
    for path in (folder / "train/good").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_truncate, "train/good/000.png"),
        (damage_text, "test/good/000.png"),
        (damage_mask_size, "000_mask.png"),
        (damage_mask_missing, "blot/000.png"),
        (damage_no_training_images, "train/good"),
    ],
)
def test_data_that_cannot_be_used_fails_with_one_line_and_a_record(
    run, request_for, drawn_mvtec, tmp_path, damage, words
):
    damage(drawn_mvtec / "bottle")
    status, out, err = run(*request_for)
    assert status == 1
    assert len((out + err).strip().splitlines()) == 1
    assert words in out + err
    (record,) = records(tmp_path / "out")
    assert record["status"] == "failed"
    assert words in record["error"]["message"]
    assert str(tmp_path) not in json.dumps(record)


def test_help_version_and_configuration_are_printed(run):
    status, out, _ = run("--help")
    assert status == 0
    assert "backbone.weights" in out
    assert "Exit status" in out
    assert run("--version")[0] == 0
    status, out, _ = run("--cfg", "job", "category=01", "protocol.resize=128")
    assert status == 0
    assert "category: '01'" in out


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["sedd=1"], ["category=x", "dataset.root=/nowhere"]])
def test_help_and_refusals_load_nothing_heavy(tmp_path, arguments):
    code = (
        "import sys; from harness.__main__ import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'timm', 'anomalib', 'pandas', 'matplotlib', 'lightning'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = python("-c", code, *arguments, cwd=tmp_path, PYTHONPATH=str(Path(__file__).parents[1]))
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_it_runs_from_any_folder_as_a_process(tmp_path, request_for):
    (tmp_path / "else").mkdir()
    done = python("-m", "harness", "category=x", "dataset.root=/nowhere", cwd=tmp_path / "else")
    assert done.returncode == 2
    assert one_line_error(done.stderr).startswith("error: ")


@pytest.mark.parametrize(("kill", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_one_line(tmp_path, request_for, kill, status):
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *request_for],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = tmp_path / "out"
    deadline = time.monotonic() + 60
    while not (store / "runs").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(kill)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run ended before the signal came")
    assert process.returncode == status
    assert "finished runs are kept" in one_line_error(err)
