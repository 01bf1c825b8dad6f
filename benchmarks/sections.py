"""What is measured: five sections, each a list of contestants that take turns, and the checks on what they found."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.images import CATEGORY, count, find_bottle, repeat
from benchmarks.measure import Command, Measurement, check_same, once, take_turns

TOLERANCE = 1e-6
METRICS = ("image_auroc", "image_f1_max", "pixel_auroc", "pixel_f1_max")
"""What both sides must find, to TOLERANCE."""
SAME_AS_ANOMALIB = ("protocol=paper", "model.index_sampler=anomalib_v2", "model.epsilon=0.01001")
"""The paper's geometry (256, cropped to 224, batches of 16) with anomalib 2's indices and its effective epsilon."""
FEW_METRICS = ("metrics.bootstrap_samples=0", "metrics.aupro_fpr_limit=0")
"""What makes ours compute AUROC and F1 of images and pixels, as anomalib's side does, and nothing else."""
ANOMALIB_WORKERS = 8
"""anomalib's own default: processes that decode."""
N_MAPS = 800
"""Maps of 224 x 224, for the metrics alone: 40.1 million pixels."""
TEN = tuple(range(10))

FLOOR = "floor: every image decoded, resized, passed once"
OURS, OURS_WARM = "ours, one seed", "ours, one seed, everything imported before"
OURS_10 = "ours, ten seeds"
OURS_FULL, OURS_10_FULL = f"{OURS}, with AUPRO and intervals", f"{OURS_10}, with AUPRO and intervals"
ENGINE = "anomalib's Engine, one seed"
TRAIN_200, TRAIN_1000 = "ours, 200 training images", "ours, 1000 training images"
WIDE_256, WIDE_550 = "ours, Wide-ResNet-50-2, 256 features", "ours, Wide-ResNet-50-2, 550 features"
RANKING, RANKING_ANOMALIB = "AUROC and F1, ours", "AUROC and F1, anomalib"
AUPRO, AUPRO_ANOMALIB = "AUPRO, ours", "AUPRO, anomalib"
GRID = "ours, 5 epsilons x 2 blurs x 11 seeds"
RENDER, REFUSAL = "tables, figures and page from the store", "refusing too many features"

Section = tuple[dict[str, Any], tuple[Measurement, ...]]
"""How it was measured, without a path, and what was."""


@dataclass(frozen=True)
class Setup:
    """Images and weights that all sides read."""

    root: Path
    n_train: int
    n_test: int
    backbone: str
    weights: Path

    def request(
        self,
        store: Path,
        *,
        seeds: Sequence[int] = (0,),
        n_features: int = 100,
        full: bool = False,
        device: str = "cpu",
    ) -> list[str]:
        """Make the request to `python -m harness`; `full` is with AUPRO and intervals."""
        return [
            *("dataset=mvtec", f"dataset.root={self.root}", f"category={CATEGORY}"),
            *(f"backbone={self.backbone}", f"backbone.weights={self.weights}", f"model.n_features={n_features}"),
            *(f"seeds=[{','.join(map(str, seeds))}]", f"device={device}", f"store={store}"),
            *SAME_AS_ANOMALIB,
            *([] if full else FEW_METRICS),
        ]


class Bench:
    """What the command line asks for."""

    def __init__(
        self, scratch: Path, data_root: Path | None, weights: Path | None, *, repeats: int = 3, limit: int | None = None
    ) -> None:
        """Find or draw the images.

        Args:
            scratch: for everything that is needed meanwhile; the caller removes it.
            weights: a file of ResNet-18's weights; None: random ones. Wide-ResNet-50-2 always has random ones.
            limit: so many drawn images and maps: to try the tools, not to measure.
        """
        self.root, self.label = find_bottle(data_root, scratch, limit)
        self.scratch, self.weights, self.repeats, self.limit = scratch, weights, repeats, limit

    def setup(self, backbone: str = "resnet18", n_train: int | None = None) -> Setup:
        """Put images together, and weights where there are none."""
        root = self.root
        if n_train is not None:
            root = Path(mkdtemp(dir=self.scratch))
            repeat(self.root, root, n_train)
        if self.weights and backbone == "resnet18":
            weights = self.weights.resolve()
        else:
            weights = self.scratch / f"{backbone}-random.safetensors"
            once("random weights", child("weights", lambda _: [backbone, str(weights)]))
        return Setup(root, *count(root), backbone, weights)

    def settings(self, setup: Setup) -> dict[str, Any]:
        """Say how it was measured; no path."""
        return {
            "repeats": self.repeats,
            "limit": self.limit,
            "images": self.label,
            "n_train": setup.n_train,
            "n_test": setup.n_test,
            "weights": setup.weights.name,
            "anomalib_workers": ANOMALIB_WORKERS,
        }


def child(what: str, arguments: Callable[[Path], Sequence[str]]) -> Command:
    """Make the command of one of `benchmarks.children`."""
    start = [sys.executable, "-m", "benchmarks.children", what]
    return lambda folder: [*start, str(folder / "out.json"), *arguments(folder)]


def ours(setup: Setup, **more: Any) -> Command:
    """Make the command of `python -m harness`, as its user starts it."""
    return lambda folder: [sys.executable, "-m", "harness", *setup.request(folder / "store", **more)]


def core(bench: Bench) -> Section:
    """Measure the floor, ours and anomalib's Engine on one category: one seed and ten, few metrics and all."""
    setup = bench.setup()
    asked = {"root": str(setup.root), "weights": str(setup.weights), "workers": ANOMALIB_WORKERS}
    engine = [sys.executable, str(Path(__file__).with_name("anomalib_engine.py"))]
    contestants = {
        FLOOR: child("floor", lambda _: [str(setup.root), str(setup.weights)]),
        OURS: ours(setup),
        OURS_WARM: child("warm", lambda folder: setup.request(folder / "store")),
        OURS_10: ours(setup, seeds=TEN),
        OURS_FULL: ours(setup, full=True),
        OURS_10_FULL: ours(setup, seeds=TEN, full=True),
        ENGINE: lambda folder: [*engine, str(folder / "out.json"), json.dumps(asked)],
    }
    measured = take_turns(contestants, bench.repeats)
    check_same(measured, METRICS, TOLERANCE)
    return bench.settings(setup), measured


def metrics(bench: Bench) -> Section:
    """Measure AUROC with F1, and AUPRO, alone, on 40 million drawn pixels."""
    n_maps = str(bench.limit or N_MAPS)
    contestants = {
        RANKING: child("pixels", lambda _: ["ours", "auroc_f1", n_maps]),
        RANKING_ANOMALIB: child("pixels", lambda _: ["anomalib", "auroc_f1", n_maps]),
        AUPRO: child("pixels", lambda _: ["ours", "aupro", n_maps]),
        AUPRO_ANOMALIB: child("pixels", lambda _: ["anomalib", "aupro", n_maps]),
    }
    measured = take_turns(contestants, bench.repeats)
    check_same(measured, ("pixel_auroc", "pixel_f1_max", "pixel_aupro"), TOLERANCE)
    return {"repeats": bench.repeats, "limit": bench.limit}, measured


def scaling(bench: Bench) -> Section:
    """Measure the peak memory of ours, once each: 200 and 1000 training images; Wide-ResNet-50-2.

    anomalib cannot invert the covariances of 192 features or more on several threads, so it is left out.
    """
    wide = bench.setup("wide_resnet50_2")
    contestants = {
        TRAIN_200: ours(bench.setup(n_train=200)),
        TRAIN_1000: ours(bench.setup(n_train=1000)),
        WIDE_256: ours(wide, n_features=256),
        WIDE_550: ours(wide, n_features=550),
    }
    return {**bench.settings(wide), "repeats": 1}, take_turns(contestants, 1)


def grid(bench: Bench) -> Section:
    """Measure a grid of settings in one command against one run."""
    setup = bench.setup()
    settings = ["seeds=[0,1,2,3,4,5,6,7,8,9,42]", "model.epsilon=0.001,0.003,0.01,0.03,0.1", "model.blur_sigma=0,4"]

    def command(folder: Path) -> list[str]:
        own = {word.partition("=")[0] for word in settings}
        request = [word for word in setup.request(folder / "store") if word.partition("=")[0] not in own]
        return [sys.executable, "-m", "harness", *request, *settings]

    return bench.settings(setup), take_turns({OURS: ours(setup), GRID: command}, bench.repeats)


def tools(bench: Bench) -> Section:
    """Measure tables, figures and page from the committed store, and the refusal of a wrong request."""
    request = ["dataset=mvtec", "dataset.root=.", f"category={CATEGORY}", "model.n_features=449"]
    refused = f"{shlex.join([sys.executable, '-m', 'harness', *request])}; test $? -eq 2"
    contestants: dict[str, Command] = {
        RENDER: lambda folder: [
            *(sys.executable, "scripts/render.py", "--tables", f"{folder}/tables"),
            *("--figures", f"{folder}/figures", "--report", f"{folder}/report.html"),
        ],
        REFUSAL: lambda _: ["sh", "-c", refused],
    }
    return {"repeats": bench.repeats, "limit": bench.limit}, take_turns(contestants, bench.repeats)


SECTIONS: dict[str, Callable[[Bench], Section]] = {
    section.__name__: section for section in (core, metrics, scaling, grid, tools)
}
