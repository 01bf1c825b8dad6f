"""Who is measured: how each is started, and where it says what it found; each is a fresh process, publicly started."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.bench.images import Images
from harness.bench.process import TIMEOUT_S, BenchError, succeed, take
from harness.bench.results import Measurement
from harness.keys import CONFIGS

CHILDREN = Path(__file__).with_name("children")
PYTHON = sys.executable

SAME_AS_ANOMALIB = ("protocol=paper", "protocol.index_sampler=anomalib_v2", "protocol.epsilon=0.01001")
"""The paper's geometry (256, cropped to 224, batches of 16) with anomalib 2's indices and its effective epsilon."""
FEW_METRICS = ("metrics.bootstrap_samples=0", "metrics.aupro_fpr_limit=0")
"""What makes ours compute AUROC and F1 of images and pixels, as anomalib's side does, and nothing else."""
RESIZE, CROP, BATCH_SIZE = (256, 256), (224, 224), 16
"""Of `protocol=paper`, for anomalib's side."""
METRICS = ("image_auroc", "image_f1_max", "pixel_auroc", "pixel_f1_max")
"""What both sides must find, to TOLERANCE."""
TOLERANCE = 1e-6
REFUSED = 2
"""Exit status of a wrong request."""
ANOMALIB_WORKERS = 8
"""anomalib's own default: processes that decode. The section `workers` compares it with fewer."""


@dataclass(frozen=True)
class Setup:
    """The same for all sides."""

    images: Images
    backbone: str
    weights: Path
    """A file that both sides read."""
    n_features: int
    few_metrics: tuple[str, ...] = FEW_METRICS

    def request(
        self, seeds: Sequence[int], store: Path, *, full: bool, device: str = "cpu", more: Sequence[str] = ()
    ) -> list[str]:
        """The request to `python -m harness`; `full` is with AUPRO and intervals."""
        return [
            "dataset=mvtec",
            f"dataset.root={self.images.root}",
            f"category={self.images.category}",
            f"backbone={self.backbone}",
            f"backbone.weights={self.weights}",
            f"n_features={self.n_features}",
            *SAME_AS_ANOMALIB,
            f"seeds=[{','.join(map(str, seeds))}]",
            f"device={device}",
            f"store={store}",
            *([] if full else self.few_metrics),
            *more,
        ]


@dataclass(frozen=True)
class Found:
    """What a contestant itself says after its run."""

    work_seconds: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """One way to do the work."""

    name: str
    command: Callable[[Path], Sequence[str]]
    """Takes an empty folder of its own."""
    read: Callable[[Path], Found] = lambda _: Found()
    """Takes the same folder, after the run."""
    status: int = 0
    """How it must end."""


def once(contestant: Contestant, repeat: int, *, timeout_s: float = TIMEOUT_S) -> Measurement:
    """Run a contestant in a fresh process.

    The harness remembers digests of images in the user's cache folder; each process gets an empty one, as on its first
    run. matplotlib, which anomalib imports, keeps its list of fonts for all.

    Raises:
        BenchError: it failed.
    """
    with TemporaryDirectory(prefix="bench-") as scratch:
        folder, cache = Path(scratch, "work"), Path(scratch, "cache")
        folder.mkdir()
        environment = {"XDG_CACHE_HOME": str(cache), "MPLCONFIGDIR": str(_fonts()), "PYTHONWARNINGS": "ignore"}
        taken = take(contestant.command(folder), environment=environment, timeout_s=timeout_s)
        succeed(taken, contestant.name, status=contestant.status)
        try:
            found = contestant.read(folder)
        except (OSError, ValueError, KeyError) as error:
            raise BenchError(f"{contestant.name}: left no results ({type(error).__name__}: {error})") from error
    return Measurement(
        name=contestant.name,
        repeat=repeat,
        seconds=taken.seconds,
        cpu_seconds=taken.cpu_seconds,
        peak_rss_bytes=taken.peak_rss_bytes,
        work_seconds=found.work_seconds,
        stages=dict(found.stages),
        metrics=dict(found.metrics),
        numbers=dict(found.numbers),
    )


_fonts_folder: list[TemporaryDirectory[str]] = []


def _fonts() -> Path:
    if not _fonts_folder:
        _fonts_folder.append(TemporaryDirectory(prefix="bench-fonts-"))
    return Path(_fonts_folder[0].name)


def take_turns(
    contestants: Sequence[Contestant], repeats: int, say: Callable[[Measurement], None], **options: Any
) -> tuple[Measurement, ...]:
    """A B C A B C ...: what slows the machine for a while slows all of them.

    Raises:
        BenchError: one of them failed.
    """
    measured = []
    for repeat in range(repeats):
        for contestant in contestants:
            measured.append(once(contestant, repeat, **options))
            say(measured[-1])
    return tuple(measured)


def floor(setup: Setup) -> Contestant:
    """Every image decoded, resized and passed once; see `harness.bench.children.floor`."""
    return Contestant(
        "floor",
        lambda folder: [
            PYTHON, "-m", "harness.bench.children.floor", str(folder / "out.json"),
            *setup.request([0], folder / "store", full=False),
        ],
        _read_child,
    )  # fmt: skip


def ours(setup: Setup, name: str, *, seeds: Sequence[int] = (0,), full: bool = False) -> Contestant:
    """`python -m harness`, as its user starts it."""
    return Contestant(
        name,
        lambda folder: [PYTHON, "-m", "harness", *setup.request(seeds, folder / "store", full=full)],
        lambda folder: read_store(folder / "store", seeds, full=full),
    )


def ours_warm(setup: Setup, name: str) -> Contestant:
    """The same after all imports; see `harness.bench.children.warm`."""

    def read(folder: Path) -> Found:
        child, run = _read_child(folder), read_store(folder / "store", (0,), full=False)
        return Found(child.work_seconds, run.stages, run.metrics, child.numbers)

    return Contestant(
        name,
        lambda folder: [
            PYTHON, "-m", "harness.bench.children.warm", str(folder / "out.json"),
            *setup.request([0], folder / "store", full=False),
        ],
        read,
    )  # fmt: skip


def imports_only() -> Contestant:
    """What the harness may import, and nothing else: it warms the disk, and says what imports cost."""
    return Contestant(
        "imports",
        lambda folder: [PYTHON, "-m", "harness.bench.children.warm", str(folder / "out.json")],
        _read_child,
    )


def anomalib(setup: Setup, name: str, *, lean: bool, full: bool = False, workers: int = ANOMALIB_WORKERS) -> Contestant:
    """anomalib's Engine; see `harness.bench.children.anomalib_engine`. `full` is with AUPRO; it has no intervals."""
    from omegaconf import OmegaConf

    backbone: Any = OmegaConf.load(CONFIGS / "backbone" / f"{setup.backbone}.yaml")
    asked = {
        "root": str(setup.images.root),
        "category": setup.images.category,
        "batch_size": BATCH_SIZE,
        "workers": workers,
        "resize": RESIZE,
        "crop": CROP,
        "seed": 0,
        "architecture": backbone.architecture,
        "layers": list(backbone.layers),
        "weights": str(setup.weights),
        "n_features": setup.n_features,
        "lean": lean,
        "aupro": full,
    }
    script = str(CHILDREN / "anomalib_engine.py")
    return Contestant(name, lambda folder: [PYTHON, script, str(folder / "out.json"), json.dumps(asked)], _read_child)


def pixels(name: str, side: str, what: str, n_images: int) -> Contestant:
    """The metrics alone, on drawn maps; see `harness.bench.children.pixels`."""
    return Contestant(
        name,
        lambda folder: [
            PYTHON, "-m", "harness.bench.children.pixels", str(folder / "out.json"), side, what, str(n_images)
        ],
        _read_child,
    )  # fmt: skip


def render() -> Contestant:
    """Tables, figures and page of the committed store."""
    return Contestant(
        "render",
        lambda folder: [
            PYTHON, "scripts/render.py", "--tables", str(folder / "tables"), "--figures", str(folder / "figures"),
            "--report", str(folder / "report.html"),
        ],
    )  # fmt: skip


def refusal(name: str, request: Sequence[str]) -> Contestant:
    """A wrong request, which must end with status 2."""
    command = [PYTHON, "-m", "harness", *request]
    return Contestant(name, lambda folder: [*command, f"store={folder / 'store'}"], status=REFUSED)


def _read_child(folder: Path) -> Found:
    """What one of our own children wrote: fields of Found, and beside them numbers."""
    said = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    work, stages, metrics = said.pop("work_seconds", None), said.pop("stages", {}), said.pop("metrics", {})
    return Found(work, stages, metrics, said)


def read_store(store: Path, seeds: Sequence[int], *, full: bool) -> Found:
    """What the records of a store say: the first seed's metrics, and of one seed alone the stages.

    Raises:
        BenchError: there are other seeds than were asked for, a run failed, or it computed more or less than it should.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in store.rglob("record.json")]
    by_seed = {record["spec"]["seed"]: record for record in records if record["status"] == "ok"}
    if sorted(by_seed) != sorted(seeds):
        raise BenchError(f"ours: the store holds seeds {sorted(by_seed)}, not {sorted(seeds)}")
    first = by_seed[seeds[0]]
    metrics = {name: value for name, value in first["metrics"].items() if value is not None}
    if ("pixel_aupro" in metrics) != full:
        raise BenchError(f"ours: computed {', '.join(metrics)}; AUPRO was {'' if full else 'not '}asked for")
    numbers = {
        "record_peak_rss_bytes": first["memory"]["peak_rss_bytes"],
        "predicted_rss_bytes": first["plan"]["predicted_rss_bytes"],
    }
    return Found(None, first["timing"]["seconds"] if len(seeds) == 1 else {}, metrics, numbers)
