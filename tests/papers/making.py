"""Runs that fill places of the paper, each part open to change."""

from __future__ import annotations

from typing import Any

from harness.data.catalog import CATALOG
from harness.papers.model import Edition, Measured, Place, PublishedCell
from harness.papers.reading import load_published
from harness.store import RunRecord
from tests.store.making import VALUES, make_dataset, make_failed, make_metrics, make_ok, make_spec

PUBLISHED = load_published()
PAPER, SMOKE = PUBLISHED.editions["paper"], PUBLISHED.editions["smoke"]
BOTTLE = Place("mvtec", "bottle", "padim", "resnet18")


def run(place: Place = BOTTLE, *, edition: Edition = PAPER, seed: int = 42, **changes: Any) -> RunRecord:
    """A run that counts: `values` changes metrics, `counts` the images found, `record` what else a record holds.

    Every other keyword changes the spec.
    """
    spec, parts = _parts(place, edition, seed, changes)
    return make_ok(spec, **parts)


def failed(place: Place = BOTTLE, *, edition: Edition = PAPER, seed: int = 42, **changes: Any) -> RunRecord:
    """A run that failed, of the same settings."""
    spec, parts = _parts(place, edition, seed, changes)
    return make_failed(spec, dataset=parts["dataset"], synthetic=parts["synthetic"])


def _parts(place: Place, edition: Edition, seed: int, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    values, found = changes.pop("values", {}), changes.pop("counts", {})
    digest, record = changes.pop("weights_digest", None), changes.pop("record", {})
    backbone = edition.backbones[place.backbone]
    kept = {"resnet18": 100, "wide_resnet50_2": 256}[place.backbone] if not edition.synthetic else 100
    spec = make_spec(
        dataset=edition.datasets[place.dataset],
        category=place.category,
        backbone=backbone,
        seed=seed,
        **({"n_features": kept} | changes),
    )
    if digest is not None:
        spec["backbone"]["weights_digest"] = digest
    official = CATALOG[spec["dataset"]].categories[place.category]
    counts = {
        "n_train": official.train,
        "n_test_normal": official.test_normal,
        "n_test_anomalous": official.test_anomalous,
    }
    parts = {
        "dataset": make_dataset(spec, **(counts | found)),
        "synthetic": edition.synthetic,
        "metrics": make_metrics(VALUES | values),
    }
    return spec, parts | record


def cell(printed: str, metric: str | None = "image_auroc", *places: Place, column: str = "Img AUROC") -> PublishedCell:
    """One published number."""
    return PublishedCell(1, "Bottle", column, printed, "5.1", metric, places or (BOTTLE,))


def measured(by_seed: dict[int, float], steps: tuple[float, float] = (0.0, 0.0)) -> Measured:
    """What the store has."""
    keys = tuple(map(str, by_seed))
    return Measured(dict(sorted(by_seed.items())), None, keys, steps=steps, declared=by_seed.get(PAPER.declared_seed))
