"""The whole reproduction on drawn images: plan, sweep, tables, figures, page; a second time nothing is run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.settings import run_key
from harness.errors import RequestError, StoreError
from harness.report.output import outputs_of
from harness.report.render import Rendered
from harness.reproduce import steps
from harness.reproduce.plan import Request
from harness.store import RunRecord, Store
from scripts.reproduce import main
from tests.drawing import draw_btad_category, draw_mvtec_category
from tests.papers.making import PUBLISHED, failed, run
from tests.report.stores import PLACES, write_store
from tests.store.making import make_scores

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data_root(tmp_path):
    draw_mvtec_category(tmp_path / "data" / "mvtec" / "bottle")
    return tmp_path / "data"


@pytest.fixture
def step(monkeypatch):
    """Reproduce with sweeps that only note what they were called with, and nothing rendered but a line."""
    calls, texts, said = [], [], []

    def reproduce(request, statuses=(0,), *, download=False, dry_run=False):
        remaining = list(statuses)

        def harness(call):
            calls.append(call)
            return remaining.pop(0)

        monkeypatch.setattr(steps, "harness", harness)
        monkeypatch.setattr(steps, "render", lambda *_, **__: Rendered((), (), "rendered"))
        status = steps.reproduce(
            request,
            download=download,
            dry_run=dry_run,
            show=lambda blocks: texts.append("\n".join(blocks)),
            say=said.append,
        )
        return status, calls, texts, said

    return reproduce


def request_of(data_root, **changes):
    return Request(
        **({"paper": PUBLISHED, "data_root": data_root, "store": data_root.parent / "store", "seeds": (42,)} | changes)
    )


def test_the_plan_comes_before_the_first_sweep(step, data_root):
    status, calls, texts, _ = step(request_of(data_root, seeds=(0, 1)))
    assert status == 0
    assert len(calls) == 1
    plan, summary = texts
    assert "The paper's tables need 20 runs: 0 done, 4 to do, 16 without images" in plan
    assert "visa: not there" in plan
    assert "btad: not there" in plan
    assert f"python -m harness {calls[0][0]}" in plan
    assert "0 of 20 runs of the paper's tables are done" in summary
    assert "4 runs are left; the same command goes on" in summary


@pytest.mark.parametrize(("statuses", "expected"), [((1, 0), 1), ((2, 1), 2)])
def test_every_sweep_runs_and_the_worst_status_counts(step, data_root, statuses, expected):
    (data_root.parent / "a.pth").touch()
    request = request_of(data_root, weights={"resnet18": str(data_root.parent / "a.pth")})
    status, calls, texts, _ = step(request, statuses)
    assert status == expected
    assert len(calls) == 2
    assert "rendered" in texts[-1], "what there is, is rendered all the same"


@pytest.mark.parametrize("stopped", [130, 143])
def test_a_sweep_that_was_interrupted_is_the_last(step, data_root, stopped):
    (data_root.parent / "a.pth").touch()
    request = request_of(data_root, weights={"resnet18": str(data_root.parent / "a.pth")})
    status, calls, texts, _ = step(request, (stopped,))
    assert (status, len(calls), len(texts)) == (stopped, 1, 1)


def test_a_dry_run_writes_nothing(step, data_root):
    status, calls, texts, _ = step(request_of(data_root), dry_run=True)
    assert (status, calls, len(texts)) == (0, [], 1)
    assert not (data_root.parent / "store").exists()


def test_failures_are_listed_last_with_their_reason(step, data_root):
    write_store(data_root.parent / "store", [failed(PLACES[0])])
    _, _, texts, _ = step(request_of(data_root))
    assert re.search(r"bottle +resnet18 +1 +1 failed", texts[0]), "and it is tried again"
    assert "failed: mvtec/bottle resnet18 seed 42: DataError: bottle/x.png: is truncated (in features)" in texts[-1]


def test_a_download_is_planned_as_if_it_had_come_and_then_looked_at_again(step, data_root, monkeypatch):
    fetched = []
    monkeypatch.setattr(steps, "fetch", lambda wanted, *_: fetched.extend(wanted) or 1)
    status, calls, texts, _ = step(request_of(data_root), download=True)
    assert fetched == ["visa", "btad"]
    assert "visa: is downloaded first (1.9 GB" in texts[0]
    assert "8 to do, 2 without images" in texts[0]
    assert status == 1, "a download that failed is a failure, though the rest goes on"
    assert "visa" not in " ".join(calls[0]), "what did not come is not asked for"


def test_wrong_requests_are_one_line_and_run_nothing(step, data_root, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for request, message in (
        (request_of(tmp_path / "none"), "none: no such folder"),
        (request_of(tmp_path / "empty"), "holds none of mvtec, visa, btad"),
        (request_of(data_root, store=tmp_path / "file"), "file"),
    ):
        with pytest.raises((RequestError, StoreError), match=message) as caught:
            step(request)
        assert "\n" not in str(caught.value)


def test_outputs_of_the_committed_store_are_the_committed_ones_and_others_stay_inside():
    ours = outputs_of(PROJECT / "results")
    assert (ours.tables, ours.figures) == (PROJECT / "results" / "tables", PROJECT / "figures")
    other = outputs_of(Path("somewhere"))
    assert (other.tables, other.figures, other.report) == (
        Path("somewhere/tables"), Path("somewhere/figures"), Path("somewhere/report.html"),
    )  # fmt: skip


def test_the_script_refuses_in_one_line_with_status_2(data_root, monkeypatch, capsys):
    monkeypatch.delenv("DATA_ROOT", raising=False)
    given = ["--data-root", str(data_root)]
    for arguments in (
        [],
        [*given, "--seeds", "x"],
        [*given, "--seeds", "-1"],
        [*given, "--seeds", "9-0"],
        [*given, "--seeds", "0-1000"],
        [*given, "--seeds", ""],
        [*given, "--weights", "resnet18"],
        [*given, "--weights", "vgg=/x"],
        [*given, "--device", "tpu"],
        ["--data-root", str(data_root / "none")],
        ["--sedds", "1"],
    ):
        assert main(arguments) == 2, arguments
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1), printed.err
        assert printed.err.startswith("error: ")


def test_the_script_takes_data_root_from_the_environment(data_root, monkeypatch, capsys):
    monkeypatch.setenv("DATA_ROOT", str(data_root))
    assert main(["--dry-run", "--seeds", "[0, 1,1]", "--store", str(data_root / "s")]) == 0
    assert "need 20 runs" in capsys.readouterr().out
    assert main(["--dry-run", "--seeds", "3,0-1", "--store", str(data_root / "s")]) == 0
    assert "'seeds=[3,0,1]'" in capsys.readouterr().out


def test_by_default_it_runs_seeds_42_and_0_to_9(data_root, capsys):
    assert main(["--dry-run", "--data-root", str(data_root), "--store", str(data_root / "s")]) == 0
    text = capsys.readouterr().out
    assert "need 110 runs" in text
    assert "'seeds=[42,0,1,2,3,4,5,6,7,8,9]'" in text


@pytest.mark.slow
def test_it_all_runs_and_a_second_time_nothing_does(tmp_path, monkeypatch, capfd):
    """Random weights, since none can be downloaded here: so no number counts, and the tables say so."""
    monkeypatch.chdir(tmp_path)
    few = replace(PUBLISHED, figures=PUBLISHED.figures[1:2])
    monkeypatch.setattr("scripts.reproduce.load_published", lambda _: few)
    draw_btad_category(tmp_path / "data" / "btad" / "BTech_Dataset_transformed" / "01")
    store = tmp_path / "store"
    command = ["--data-root", str(tmp_path / "data"), "--store", str(store), "--weights=resnet18=random", "--seeds=42"]
    assert main(command) == 0
    assert "1 of 10 runs of the paper's tables are done, 1 of them new" in capfd.readouterr().out
    assert len(list((store / "tables").glob("*.csv"))) == 12
    assert [path.name for path in (store / "figures").glob("fig*.svg")] == ["fig2_mvtec.svg"]
    assert "random weights" in (store / "report.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "store"], "nothing is left beside the store"
    records = {path: path.read_bytes() for path in store.rglob("record.json")}
    page = (store / "report.html").read_bytes()
    assert main(command) == 0
    assert capfd.readouterr().out.count("already in the store, nothing to do") == 1
    assert {path: path.read_bytes() for path in store.rglob("record.json")} == records
    assert (store / "report.html").read_bytes() == page


def put(request, weights, **changes):
    """Put a run of bottle at seed 42 into the request's store, with other weights and other fields of its spec."""
    made = run(PLACES[0], seed=42)
    spec = made.spec.model_dump() | changes
    memory = {"peak_rss_bytes": 1, "peak_device_bytes": 1 if spec["device"] == "cuda" else None}
    changed = made.model_dump() | {"spec": spec, "key": run_key(spec), "weights": weights, "memory": memory}
    Store(request.store).write(RunRecord.model_validate(changed), make_scores())


@pytest.mark.parametrize(
    ("weights", "device", "words"),
    [
        ("file: other.safetensors", "cpu", "with the weights file: other.safetensors, and this sweep has timm's"),
        ("timm: x", "cuda", "seed 42 on device=cuda, and this sweep is on cpu"),
    ],
)
def test_what_would_stand_beside_runs_of_another_kind_is_refused_before_anything_runs(
    step, data_root, weights, device, words
):
    request = request_of(data_root)
    put(request, weights, device=device)
    with pytest.raises(RequestError, match=f"^{request.store}: holds .*{words}: give .* fill no table"):
        step(request)
    _, calls, _, _ = step(request_of(data_root, store=data_root.parent / "another"))
    assert len(calls) == 1


def test_the_very_file_of_weights_that_the_stores_runs_have_is_no_other_kind(step, data_root, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    request = request_of(data_root, weights={"resnet18": str(path)})
    backbone = run(PLACES[0]).spec.backbone.model_dump() | {"weights_digest": hashlib.sha256(b"weights").hexdigest()}
    put(request, "file: mine.safetensors", backbone=backbone)
    assert step(request, statuses=(0, 0))[0] == 0
    path.write_bytes(b"other weights")
    with pytest.raises(RequestError, match=r"and this sweep has .*mine.safetensors: give --weights resnet18=FILE, or"):
        step(request)
