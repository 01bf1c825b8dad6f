"""What is measured: four sections, each a list of contestants that take turns, and the checks on what they found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.images import CATEGORY, Source, compose
from benchmarks.measure import Contestant, Measurement, check_same, once, take_turns

TOLERANCE = 1e-6
METRICS = ("image_auroc", "image_f1_max", "pixel_auroc", "pixel_f1_max")
"""What both sides must find, to TOLERANCE."""
SAME_AS_ANOMALIB = ("protocol=paper", "protocol.index_sampler=anomalib_v2", "protocol.epsilon=0.01001")
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
RENDER = "tables, figures and page from the store"
REFUSALS = {
    "refusing an unknown key": ("seeed=1",),
    "refusing an unknown category": ("dataset=mvtec", "dataset.root=.", "category=botle"),
    "refusing too many features": ("dataset=mvtec", "dataset.root=.", "category=bottle", "n_features=449"),
}
REFUSED = 2
"""Exit status of a wrong request."""


@dataclass(frozen=True)
class Results:
    """One section: its measurements, on what, and where."""

    section: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    finished: str
    """UTC date."""
    measurements: tuple[Measurement, ...]


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
        """The request to `python -m harness`; `full` is with AUPRO and intervals."""
        return [
            "dataset=mvtec",
            f"dataset.root={self.root}",
            f"category={CATEGORY}",
            f"backbone={self.backbone}",
            f"backbone.weights={self.weights}",
            *SAME_AS_ANOMALIB,
            f"n_features={n_features}",
            f"seeds=[{','.join(map(str, seeds))}]",
            f"device={device}",
            f"store={store}",
            *([] if full else FEW_METRICS),
        ]


@dataclass(frozen=True)
class Bench:
    """What the command line asks for."""

    source: Source
    folder: Path
    """For everything that is needed meanwhile; the caller removes it."""
    weights: Path | None = None
    """A file of ResNet-18's weights; None: random ones. Wide-ResNet-50-2 always has random ones."""
    repeats: int = 3
    limit: int | None = None
    """At most so many training, test and drawn images: to try the tools, not to measure."""

    def setup(self, backbone: str = "resnet18", n_train: int | None = None) -> Setup:
        """Put images together, and weights where there are none."""
        root = Path(mkdtemp(prefix="images-", dir=self.folder))
        weights = self.weights.resolve() if self.weights and backbone == "resnet18" else None
        if weights is None:
            weights = self.folder / f"{backbone}-random.safetensors"
            once(Contestant("random weights", lambda folder: child(folder, "weights", backbone, str(weights))))
        return Setup(root, *compose(self.source, root, n_train, self.limit), backbone, weights)

    def settings(self, setup: Setup | None = None) -> dict[str, Any]:
        """What the results say about how they were measured; no path."""
        settings: dict[str, Any] = {"repeats": self.repeats, "limit": self.limit}
        if setup is not None:
            weights = setup.weights.name
            settings |= {"images": self.source.label, "n_train": setup.n_train, "n_test": setup.n_test}
            settings |= {"weights": weights, "anomalib_workers": ANOMALIB_WORKERS}
        return settings


def child(folder: Path, what: str, *arguments: str) -> list[str]:
    """The command of one of `benchmarks.children`."""
    return [sys.executable, "-m", "benchmarks.children", what, str(folder / "out.json"), *arguments]


def ours(
    setup: Setup, name: str, *, seeds: tuple[int, ...] = (0,), full: bool = False, n_features: int = 100
) -> Contestant:
    """`python -m harness`, as its user starts it."""

    def command(folder: Path) -> list[str]:
        request = setup.request(folder / "store", seeds=seeds, full=full, n_features=n_features)
        return [sys.executable, "-m", "harness", *request]

    return Contestant(name, command, seeds, full)


def engine(setup: Setup, name: str = ENGINE) -> Contestant:
    """anomalib's Engine, without pictures."""
    asked = {"root": str(setup.root), "weights": str(setup.weights), "workers": ANOMALIB_WORKERS}
    script = str(Path(__file__).with_name("anomalib_engine.py"))
    return Contestant(name, lambda folder: [sys.executable, script, str(folder / "out.json"), json.dumps(asked)])


def core(bench: Bench) -> tuple[dict[str, Any], tuple[Measurement, ...]]:
    """The floor, ours and anomalib's Engine on one category: one seed and ten, with few metrics and with all."""
    setup = bench.setup()
    measured = take_turns(
        [
            Contestant(FLOOR, lambda folder: child(folder, "floor", *setup.request(folder / "store"))),
            ours(setup, OURS),
            Contestant(OURS_WARM, lambda folder: child(folder, "warm", *setup.request(folder / "store")), (0,)),
            ours(setup, OURS_10, seeds=TEN),
            ours(setup, OURS_FULL, full=True),
            ours(setup, OURS_10_FULL, seeds=TEN, full=True),
            engine(setup),
        ],
        bench.repeats,
    )
    check_same(measured, METRICS, TOLERANCE)
    return bench.settings(setup), measured


def metrics(bench: Bench) -> tuple[dict[str, Any], tuple[Measurement, ...]]:
    """AUROC with F1, and AUPRO, alone, on 40 million drawn pixels."""
    n_maps = str(bench.limit or N_MAPS)
    who = {
        RANKING: ("ours", "auroc_f1"),
        RANKING_ANOMALIB: ("anomalib", "auroc_f1"),
        AUPRO: ("ours", "aupro"),
        AUPRO_ANOMALIB: ("anomalib", "aupro"),
    }

    def contestant(name: str) -> Contestant:
        return Contestant(name, lambda folder: child(folder, "pixels", *who[name], n_maps))

    measured = take_turns([contestant(name) for name in who], bench.repeats)
    check_same(measured, ("pixel_auroc", "pixel_f1_max", "pixel_aupro"), TOLERANCE)
    return bench.settings(), measured


def scaling(bench: Bench) -> tuple[dict[str, Any], tuple[Measurement, ...]]:
    """Peak memory of ours, once each: 200 and 1000 training images; Wide-ResNet-50-2.

    anomalib is not asked for Wide-ResNet-50-2: on more than one thread it cannot invert its covariances of 192
    features or more.
    """
    few, many = (bench.setup(n_train=n_train) for n_train in (200, 1000))
    wide = bench.setup("wide_resnet50_2")
    measured = take_turns(
        [
            ours(few, TRAIN_200),
            ours(many, TRAIN_1000),
            ours(wide, WIDE_256, n_features=256),
            ours(wide, WIDE_550, n_features=550),
        ],
        1,
    )
    return {**bench.settings(wide), "repeats": 1}, measured


def tools(bench: Bench) -> tuple[dict[str, Any], tuple[Measurement, ...]]:
    """Tables, figures and page from the committed store, and the time to refuse a wrong request."""

    def render(folder: Path) -> list[str]:
        places = ["--tables", f"{folder}/tables", "--figures", f"{folder}/figures", "--report", f"{folder}/report.html"]
        return [sys.executable, "scripts/render.py", *places]

    def refusal(name: str) -> Contestant:
        command = [sys.executable, "-m", "harness", *REFUSALS[name]]
        return Contestant(name, lambda folder: [*command, f"store={folder}/store"], status=REFUSED)

    return bench.settings(), take_turns([Contestant(RENDER, render), *map(refusal, REFUSALS)], bench.repeats)


SECTIONS: dict[str, Callable[[Bench], tuple[dict[str, Any], tuple[Measurement, ...]]]] = {
    "core": core, "metrics": metrics, "scaling": scaling, "tools": tools,
}  # fmt: skip
