"""The same run again: in fresh processes bit for bit, whatever surrounds it; carried out otherwise, within a bound.

`docs/reliability.md` has the same with real images, and what another processor moves.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.__main__ import main
from harness.config.settings import DatasetConfig
from harness.data.layouts import resolve_split
from harness.execution.passes import image_bytes
from harness.models.base import GIB, Task
from harness.models.padim.plan import plan_pass
from harness.models.weights import resolve_weights
from harness.store import Store
from tests.drawing import draw_visa_category
from tests.models.sources import LITE0, PREPROCESSING

BATCH = 2
N_FEATURES = 24
REQUEST = (
    "dataset=visa", "dataset.limit=70", "backbone=efficientnet_lite0", "backbone.weights=package",
    f"model.n_features={N_FEATURES}",
    "device=cpu", "preprocessing.resize=128", "preprocessing.center_crop=112", "metrics.bootstrap_samples=20",
)  # fmt: skip
NOT_OF_THE_NUMBERS = {"timing", "memory", "plan", "environment", "started", "finished"}

CANDLE = [("candle", 0), ("candle", 1)]
ROUNDING = 1e-5
"""Of raw scores, relative, where the same sums may be taken in another order."""


@dataclass(frozen=True)
class Result:
    """What one run left."""

    record: Mapping[str, Any]
    """Without what tells of time, memory and machine."""
    scores: bytes
    """scores.csv."""
    examples: str
    """Digest of the arrays kept for pictures, anomaly maps among them."""
    raw: np.ndarray
    """The scores as numbers."""
    plan: Mapping[str, Any]
    """How the pass was carried out."""


Results = dict[tuple[str, int], Result]
"""By category and seed."""


def results(store: Path) -> Results:
    contents = Store(store).records()
    assert contents.problems == ()
    found = {}
    for record in contents.records:
        assert record.status == "ok"
        folder = store / Store(store).run_folder(record.spec.model_dump())
        with np.load(folder / "examples.npz") as arrays:
            digest = hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))
        found[record.spec.category, record.spec.seed] = Result(
            record.model_dump(exclude=NOT_OF_THE_NUMBERS),
            (folder / "scores.csv").read_bytes(),
            digest.hexdigest(),
            Store(store).scores(record).scores,
            record.plan.model_dump(),
        )
    return found


def copy_shuffled(source: Path, target: Path) -> Path:
    """The same files written in another order, and the table's rows shuffled."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in random.Random(7).sample(files, len(files)):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    table = target / "visa/split_csv/1cls.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *random.Random(8).sample(rows, len(rows))]) + "\n")
    return target


def fresh(base: Path, name: str, data: Path, overrides: Sequence[str], **variables: str) -> Results:
    """Run in a process of its own, with a working folder, a cache and a store of that name."""
    folder = base / name
    (folder / "cwd").mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), **variables}
    command = ["-m", "harness", "-m", *REQUEST, f"data_root={data}", f"store={folder / 'store'}", *overrides]
    done = subprocess.run([sys.executable, *command], cwd=folder / "cwd", env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list((folder / "cwd").iterdir())
    return results(folder / "store")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Two categories in VisA's layout: JPEGs, training and test images side by side, and a table of their roles."""
    root = tmp_path_factory.mktemp("drawn")
    # More than the 64 whose products are summed together, so that the sums have several parts; and few.
    for number, (category, n_train) in enumerate((("candle", 72), ("cashew", 12))):
        draw_visa_category(root / "visa", category, n_train=n_train, n_good=6, n_bad=7, seed=number)
    return root


@pytest.fixture(scope="module")
def plain(drawn, tmp_path_factory) -> Results:
    """Both categories and two seeds, one after the other on one thread."""
    return fresh(
        tmp_path_factory.mktemp("determinism"),
        "plain",
        drawn,
        ["category=candle,cashew", "seeds=[0,1]", f"preprocessing.batch_size={BATCH}", "threads=1"],
        PYTHONHASHSEED="0",
        LC_ALL="C",
        TZ="UTC0",
        OMP_NUM_THREADS="1",
    )


def assert_same_bits(found: Results, expected: Results) -> None:
    assert found.keys() == expected.keys()
    for place, result in found.items():
        assert result.record == expected[place].record, place
        assert result.scores == expected[place].scores, place
        assert result.examples == expected[place].examples, place


def test_what_surrounds_a_run_changes_no_bit(drawn, plain, tmp_path):
    """Files in another order, other paths, hash seed, locale and time zone; two jobs at once, one thread each."""
    assert len(plain) == 4
    found = fresh(
        tmp_path,
        "störe & 'co', {1} =#",
        copy_shuffled(drawn, tmp_path / "dätä, [#1] = {ü}"),
        ["category=candle,cashew", "seeds=[0,1]", f"preprocessing.batch_size={BATCH}", "launcher=joblib", "jobs=2"],
        PYTHONHASHSEED="4294967295",
        LC_ALL="C.UTF-8",
        LANG="tr_TR.UTF-8",
        TZ="NPT-5:45",
    )
    assert_same_bits(found, plain)


@pytest.fixture
def here(drawn, tmp_path):
    """Runs `candle` in this process, on two threads."""
    import torch

    def call(*overrides: str) -> Results:
        store = tmp_path / "store"
        request = [*REQUEST, f"data_root={drawn}", f"store={store}", "category=candle", "threads=2", *overrides]
        assert main(request) == 0
        return results(store)

    before = torch.get_num_threads()
    yield call
    torch.set_num_threads(before)


def spread(found: Results, expected: Results) -> float:
    """The largest relative difference of two raw scores, after the metrics were compared."""
    largest = 0.0
    for place, result in found.items():
        other = expected[place]
        assert result.record["indices_sha256"] == other.record["indices_sha256"]
        for name, value in result.record["metrics"].items():
            assert value == pytest.approx(other.record["metrics"][name], abs=ROUNDING), name
        largest = max(largest, float(np.abs(result.raw / other.raw - 1).max()))
    return largest


def test_two_threads_and_another_order_of_runs_change_no_bit(here, plain):
    assert_same_bits(
        here("seeds=[1,0]", f"preprocessing.batch_size={BATCH}"), {place: plain[place] for place in CANDLE}
    )


@pytest.mark.parametrize(("seeds", "batch_size"), [("[0,1]", 1), ("[0,1]", 70), ("[1]", BATCH)])
def test_batches_and_a_seed_alone_change_only_the_rounding(here, plain, seeds, batch_size):
    assert spread(here(f"seeds={seeds}", f"preprocessing.batch_size={batch_size}"), plain) < ROUNDING


def test_the_least_memory_changes_only_the_rounding(here, plain, drawn):
    """No seeds share a pass then, and the test images' features are not all held together."""
    found = here("seeds=[0,1]", f"preprocessing.batch_size={BATCH}", f"memory_budget={least_memory(drawn):.6f}")
    for place, result in found.items():
        assert plain[place].plan["runs_together"] == 2
        assert plain[place].plan["test_batches_at_once"] == 7
        assert result.plan["runs_together"] == result.plan["workers"] == 1
        assert result.plan["test_batches_at_once"] == 4
    assert spread(found, plain) < ROUNDING


def least_memory(drawn: Path) -> float:
    """GiB below which `candle` is refused."""
    weights = resolve_weights(LITE0).path
    protocol = replace(PREPROCESSING, resize=(128, 128), center_crop=(112, 112), batch_size=BATCH)
    split = resolve_split(DatasetConfig("visa", "visa", drawn / "visa", limit=70), "candle")
    task = Task(LITE0, protocol, 70, 13, weights.stat().st_size, "cpu", 2, 2, image_bytes(split))
    return plan_pass(task, [N_FEATURES], 0).host_bytes / GIB + 1e-6
