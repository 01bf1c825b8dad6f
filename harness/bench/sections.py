"""What is measured: sections, each a list of contestants that take turns, and the checks on what they found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from harness.bench.contestants import (
    ANOMALIB_WORKERS,
    BATCH_SIZE,
    METRICS,
    PYTHON,
    SAME_AS_ANOMALIB,
    TOLERANCE,
    Contestant,
    Setup,
    anomalib,
    floor,
    imports_only,
    ours,
    ours_warm,
    pixels,
    refusal,
    render,
    take_turns,
)
from harness.bench.images import Source, compose, files_of
from harness.bench.process import BenchError, succeed, take
from harness.bench.results import Measurement, Results, disagreements, machine, now
from harness.config import WEIGHT_WORDS
from harness.errors import RequestError

TRAIN_SIZES = (50, 100, 200, 500, 1000)
DECODING_PROCESSES = (0, 2, 8)
WIDE = {"wide-256": 256, "wide-550": 550}
PIXELS = {"4M": 83, "40M": 800}
"""Images of 224 x 224: 4.2 and 40.1 million pixels."""
TEN = tuple(range(10))
REFUSALS = {
    "refuse-key": ("seeed=1",),
    "refuse-category": ("dataset=mvtec", "dataset.root=.", "category=botle"),
    "refuse-features": ("dataset=mvtec", "dataset.root=.", "category=bottle", "n_features=449"),
}


def check_weights(weights: str) -> None:
    """Refuse what `Bench.weights` cannot be.

    Raises:
        RequestError: neither a word of WEIGHT_WORDS nor a file.
    """
    if weights not in WEIGHT_WORDS and not Path(weights).is_file():
        raise RequestError(f"--weights {weights}: no such file; give one, or {', '.join(WEIGHT_WORDS)}")


@dataclass(frozen=True)
class Bench:
    """What the command line asks for, with the images on the disk."""

    source: Source
    folder: Path
    """For everything that is needed meanwhile; the caller removes it."""
    say: Callable[[str], None]
    weights: str = "random"
    """`backbone.weights` of ResNet-18: a file, or a word of WEIGHT_WORDS. Wide-ResNet-50-2 always has random ones."""
    repeats: int = 3
    limit: int | None = None
    """At most so many training, test and drawn images: to try the tools, not to measure."""

    def setup(
        self, backbone: str = "resnet18", *, n_features: int = 100, n_train: int | None = None, weights: str = ""
    ) -> Setup:
        """Images and weights that all sides read, all of them read once before anything is timed."""
        n_test = min(self.limit, len(self.source.test)) if self.limit else None
        place = Path(mkdtemp(prefix="images-", dir=self.folder))
        images = compose(self.source, place, n_train=n_train or self.limit, n_test=n_test)
        for path in files_of(images):
            path.read_bytes()
        return Setup(images, backbone, self._weights_file(backbone, weights or self.weights), n_features)

    def _weights_file(self, backbone: str, weights: str) -> Path:
        if weights not in WEIGHT_WORDS:
            return Path(weights).resolve()
        path = self.folder / f"{backbone}-{weights}.safetensors"
        if not path.exists():
            request = ["dataset=mvtec", "dataset.root=.", "category=bottle", f"backbone={backbone}"]
            command = [PYTHON, "-m", "harness.bench.children.weights", str(path), *request]
            succeed(take([*command, f"backbone.weights={weights}"]), "the weights")
        return path

    def measure(self, contestants: Sequence[Contestant]) -> tuple[Measurement, ...]:
        """Let them take turns, and say of each how long it took."""
        return take_turns(
            contestants,
            self.repeats,
            lambda one: self.say(
                f"{one.name:<21} {one.repeat + 1}/{self.repeats}  {one.seconds:7.2f} s  "
                f"{one.peak_rss_bytes / 2**20:6.0f} MiB"
                + (f"  work {one.work_seconds:.2f} s" if one.work_seconds is not None else "")
            ),
        )

    def results(
        self, section: str, started: str, measurements: Iterable[Measurement], setup: Setup | None = None, **more: Any
    ) -> Results:
        """What was measured, with what it was measured on."""
        return Results(
            section,
            {"repeats": self.repeats, "limit": self.limit, **(describe(setup) if setup else {}), **more},
            machine(),
            started,
            now(),
            tuple(measurements),
        )


def describe(setup: Setup) -> dict[str, Any]:
    """A setup without a path."""
    images = setup.images
    digest = hashlib.sha256(setup.weights.read_bytes()).hexdigest()
    return {
        "dataset": images.label,
        "synthetic": images.synthetic,
        "n_train": images.n_train,
        "n_test": images.n_test,
        "backbone": setup.backbone,
        "weights": setup.weights.name,
        "weights_sha256": digest,
        "n_features": setup.n_features,
        "protocol": list(SAME_AS_ANOMALIB),
        "few_metrics": list(setup.few_metrics),
        "batch_size": BATCH_SIZE,
        "anomalib_workers": ANOMALIB_WORKERS,
    }


def check(measurements: Iterable[Measurement], group: str = "") -> None:
    """Refuse measurements whose sides found other numbers.

    Raises:
        BenchError: a metric of METRICS differs by more than TOLERANCE, or there is nothing to compare.
    """
    measured = list(measurements)
    if lines := disagreements(measured, METRICS, TOLERANCE, group=group):
        raise BenchError(f"the sides computed other numbers, so their times say nothing: {'; '.join(lines)}")
    lacking = [name for name in METRICS if sum(name in one.metrics for one in measured) < 2]
    if lacking:
        raise BenchError(f"{group}nobody to compare in {', '.join(lacking)}")


def core(bench: Bench) -> Results:
    """The floor, ours and anomalib on one category: one seed and ten, with few metrics and with all."""
    started, setup = now(), bench.setup()
    measured = bench.measure([
        imports_only(),
        floor(setup),
        ours(setup, "ours"),
        ours_warm(setup, "ours-warm"),
        ours(setup, "ours-10", seeds=TEN),
        ours(setup, "ours-full", full=True),
        ours(setup, "ours-10-full", seeds=TEN, full=True),
        anomalib(setup, "anomalib-lean", lean=True),
        anomalib(setup, "anomalib-lean-full", lean=True, full=True),
        anomalib(setup, "anomalib", lean=False),
    ])  # fmt: skip
    check(measured)
    return bench.results("core", started, measured, setup)


def workers(bench: Bench) -> Results:
    """The lean Engine with other numbers of decoding processes than its default: is it put at a disadvantage?"""
    started, setup = now(), bench.setup()
    measured = bench.measure([anomalib(setup, f"workers-{n}", lean=True, workers=n) for n in DECODING_PROCESSES])
    check(measured)
    return bench.results("workers", started, measured, setup)


def scaling(bench: Bench) -> Results:
    """Time and memory from 50 to 1000 training images, ours and the lean Engine."""
    started = now()
    sizes = [bench.limit * factor for factor in (1, 2)] if bench.limit else TRAIN_SIZES
    setups = {size: bench.setup(n_train=size) for size in sizes}
    contestants = [
        contestant
        for size, setup in setups.items()
        for contestant in (ours(setup, f"ours-{size}"), anomalib(setup, f"anomalib-lean-{size}", lean=True))
    ]
    measured = bench.measure(contestants)
    for size in sizes:
        check((one for one in measured if one.name.endswith(f"-{size}")), f"{size} training images: ")
    return bench.results("scaling", started, measured, setups[sizes[-1]], sizes=list(sizes))


def wide(bench: Bench) -> Results:
    """Wide-ResNet-50-2, random weights, with 256 and 550 features.

    Ours only: on more than one thread anomalib cannot invert its covariances of 192 features or more.
    """
    started = now()
    setups = {
        name: bench.setup("wide_resnet50_2", n_features=n_features, weights="random")
        for name, n_features in WIDE.items()
    }
    measured = bench.measure([ours(setup, name) for name, setup in setups.items()])
    return bench.results("wide", started, measured, setups["wide-256"], n_features=list(WIDE.values()))


def metrics(bench: Bench) -> Results:
    """AUROC with the F1s, and AUPRO, alone, on 4 and 40 million drawn pixels."""
    started = now()
    sizes = {str(bench.limit): bench.limit} if bench.limit else PIXELS
    measured = bench.measure([
        pixels(f"{side}-{what}-{size}", side, what, n_images)
        for size, n_images in sizes.items()
        for what in ("auroc_f1", "aupro")
        for side in ("ours", "anomalib")
    ])  # fmt: skip
    for size in sizes:
        group = [one for one in measured if one.name.endswith(f"-{size}")]
        if lines := disagreements(group, ("pixel_auroc", "pixel_f1_max", "pixel_aupro"), TOLERANCE):
            raise BenchError(f"the metrics differ on {size} pixels: {'; '.join(lines)}")
    return bench.results("metrics", started, measured, images=sizes)


def tools(bench: Bench) -> Results:
    """Tables, figures and page from the committed store, and the time to refuse a wrong request."""
    started = now()
    measured = bench.measure([render(), *(refusal(name, request) for name, request in REFUSALS.items())])
    return bench.results("tools", started, measured, refusals={name: list(said) for name, said in REFUSALS.items()})


SECTIONS: dict[str, Callable[[Bench], Results]] = {
    "core": core,
    "metrics": metrics,
    "tools": tools,
    "workers": workers,
    "scaling": scaling,
    "wide": wide,
}
QUICK = ("core", "metrics", "tools")
"""What `make bench` measures unless it is told otherwise; the others take long."""
