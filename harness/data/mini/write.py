"""Puts the mini benchmark on a disk, each dataset whole or not at all."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from harness.data.mini.counts import COUNTS, MINI_VERSION, plan_category
from harness.data.mini.draw import draw_plan
from harness.data.mini.subject import Bytes
from harness.errors import RequestError
from harness.leftovers import temporary_name
from harness.store.files import csv_text

MANIFEST = "mini_manifest.json"
"""In each dataset's root, written last: version, dataset, seed, and the size of every other file in bytes."""

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"compress_level": 1},
    ".bmp": {},
    ".JPG": {"quality": 90, "subsampling": 0},
}


def write_dataset(dataset: str, root: Path, seed: int = 0) -> Path:
    """Make `root` the root of one drawn dataset, in its official layout; a complete one is left as it is.

    The images are drawn into a hidden folder that takes the place of `root` in one step, so any number of processes may
    draw at once. Nothing is ever overwritten.

    Raises:
        RequestError: `root` holds something else, or cannot be written.
    """
    if is_complete(dataset, root, seed):
        return root
    try:
        if root.exists() and not (root.is_dir() and not any(root.iterdir())):
            raise RequestError(
                f"{root} is no complete drawing of {dataset}, version {MINI_VERSION}, and is not overwritten: "
                "move it away, or give an empty or new folder"
            )
        root.parent.mkdir(parents=True, exist_ok=True)
        partial = root.with_name(temporary_name(root.name))
        try:
            _fill(dataset, partial, seed)
            os.replace(partial, root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if not is_complete(dataset, root, seed):  # if it is, another process was quicker
            raise RequestError(
                f"{root}: the mini benchmark cannot be written there ({error.strerror or error}): "
                "give a folder that can be written, with room for 40 MB"
            ) from error
    return root


def is_complete(dataset: str, root: Path, seed: int = 0) -> bool:
    """Tell whether `root` holds this dataset as this version draws it: every file of the manifest, of its size."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        if [manifest[name] for name in ("version", "dataset", "seed")] != [MINI_VERSION, dataset, seed]:
            return False
        return all((root / path).stat().st_size == size for path, size in manifest["files"].items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _fill(dataset: str, folder: Path, seed: int) -> None:
    for category in COUNTS[dataset]:
        for plan in plan_category(dataset, category):
            image, mask = draw_plan(plan, seed)
            _save(image, folder / plan.path)
            if plan.mask_path is not None and mask is not None:
                _save(mask, folder / plan.mask_path)
    if dataset == "mini_visa":
        _write_visa_tables(folder)
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    manifest = {
        "what": "SYNTHETIC images, drawn by the harness",
        "version": MINI_VERSION,
        "dataset": dataset,
        "seed": seed,
        "files": dict(sorted(files.items())),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _save(pixels: Bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **_SAVE_OPTIONS[path.suffix])


def _write_visa_tables(folder: Path) -> None:
    split = []
    for category in COUNTS["mini_visa"]:
        own = plan_category("mini_visa", category)
        rows = sorted((plan.path, plan.defect if plan.mask_path else "normal", plan.mask_path or "") for plan in own)
        _write_csv(folder / category / "image_anno.csv", ("image", "label", "mask"), rows)
        for plan in own:
            label = "anomaly" if plan.mask_path else "normal"
            split.append((category, plan.part, label, plan.path, plan.mask_path or ""))
    _write_csv(folder / "split_csv" / "1cls.csv", ("object", "split", "label", "image", "mask"), split)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(header, rows), encoding="utf-8")
