"""Puts the mini benchmark on a disk, each dataset whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.data.mini.canvas import Bytes
from harness.data.mini.counts import COUNTS, MINI_VERSION
from harness.data.mini.draw import draw_plan, plan_category
from harness.data.mini.files import encode_bmp, encode_png
from harness.data.mini.jpeg import encode_jpeg
from harness.data.split import NORMAL
from harness.errors import RequestError
from harness.leftovers import is_abandoned, temporary_name

MANIFEST = "mini_manifest.json"
"""In each dataset's root, written last: version, seed, and size and sha256 of every other file."""

_ENCODERS = {".png": encode_png, ".bmp": encode_bmp, ".JPG": encode_jpeg}


def write_mini(root: Path, datasets: Iterable[str] = tuple(COUNTS), seed: int = 0) -> dict[str, Path]:
    """Draw these datasets into `root/<dataset>`, where they are not there already; returns their roots.

    Raises:
        RequestError: as `write_dataset`.
    """
    return {dataset: write_dataset(dataset, Path(root) / dataset, seed) for dataset in datasets}


def write_dataset(dataset: str, root: Path, seed: int = 0) -> Path:
    """Make `root` the root of one drawn dataset, in its official layout; where it is complete, it only tidies up.

    The images are drawn into a hidden folder beside `root` that takes its place in one step, so an interrupted drawing
    never counts. A drawing of another version or seed, or with files missing, is replaced. Any number of processes may
    do this at once.

    Raises:
        RequestError: `root` holds something that is no drawing of ours, or of another dataset, or cannot be written.
    """
    root = Path(root)
    if is_complete(dataset, root, seed):
        with suppress(OSError):
            _sweep(root)  # another process may have been killed at the same drawing, whose place ours took
        return root
    try:
        if root.exists() and not (root / MANIFEST).is_file() and (not root.is_dir() or any(root.iterdir())):
            raise RequestError(
                f"{root} is no drawing of the mini benchmark, which will not overwrite it: give an empty or new folder"
            )
        _refuse_to_replace(dataset, root)
        root.parent.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        partial = root.with_name(temporary_name(root.name))
        partial.mkdir(0o700)
        try:
            _fill(dataset, partial / "new", seed)
            _take_place(dataset, partial, root, seed)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise RequestError(
            f"{root}: the mini benchmark cannot be written there ({error.strerror or error}): "
            "give a folder that can be written, with room for 40 MB"
        ) from error
    return root


def _refuse_to_replace(dataset: str, root: Path) -> None:
    """Let only a drawing of the same dataset be replaced, and nothing be lost that somebody put into it."""
    manifest = read_manifest(root)
    if manifest is None:
        return
    if manifest["dataset"] != dataset:
        raise RequestError(
            f"{root} holds the drawn {manifest['dataset']}, which {dataset} will not overwrite: give another folder"
        )
    ours = {MANIFEST, *manifest["files"]}
    if not all(isinstance(entry, list) for entry in manifest["files"].values()):
        return  # it was damaged, and does not say what is ours
    for path in sorted(path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()):
        name = path.relative_to(root).as_posix()
        if name not in ours:
            raise RequestError(
                f"{root} is an older or incomplete drawing of {dataset}, and {name} in it is no part of that: move it "
                "away, or give another folder"
            )


def is_complete(dataset: str, root: Path, seed: int = 0) -> bool:
    """Whether `root` holds this dataset as this version draws it: every file of the manifest, of the right size."""
    manifest = read_manifest(root)
    if manifest is None or (manifest["version"], manifest["dataset"], manifest["seed"]) != (
        MINI_VERSION,
        dataset,
        seed,
    ):
        return False
    try:
        return all((root / path).stat().st_size == size for path, (size, _) in manifest["files"].items())
    except (OSError, TypeError, ValueError):
        return False


def changed_files(root: Path) -> list[str]:
    """The files of a drawn dataset that are missing or whose sha256 is not the manifest's; reads all of them.

    Raises:
        RequestError: there is no manifest.
    """
    manifest = read_manifest(root)
    if manifest is None:
        raise RequestError(f"{root} is no drawing of the mini benchmark: it has no readable {MANIFEST}")
    return [
        path
        for path, (_, digest) in manifest["files"].items()
        if not (root / path).is_file() or hashlib.sha256((root / path).read_bytes()).hexdigest() != digest
    ]


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of a drawn dataset; None where there is none that can be read."""
    try:
        manifest = json.loads((Path(root) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(manifest, dict) and {"version", "dataset", "seed", "files"} <= manifest.keys()
    return manifest if known and isinstance(manifest["files"], dict) else None


def dataset_files(dataset: str, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file of a dataset but the manifest."""
    for category in COUNTS[dataset]:
        plans = plan_category(dataset, category)
        for plan in plans:
            drawn = draw_plan(plan, seed)
            yield plan.path, _encode(plan.path, drawn.image)
            if plan.mask_path is not None and drawn.mask is not None:
                yield plan.mask_path, _encode(plan.mask_path, drawn.mask)
        if dataset == "mini_visa":
            rows = [
                (plan.path, "normal" if plan.label == NORMAL else plan.defect, plan.mask_path or "") for plan in plans
            ]
            yield f"{category}/image_anno.csv", _csv(("image", "label", "mask"), sorted(rows))
    if dataset == "mini_visa":
        yield "split_csv/1cls.csv", _one_class_split()


def _one_class_split() -> bytes:
    """VisA's split_csv/1cls.csv: which of its images belong to training and which to the test."""
    plans = [plan for category in COUNTS["mini_visa"] for plan in plan_category("mini_visa", category)]
    rows = [
        (plan.category, plan.part, "normal" if plan.label == NORMAL else "anomaly", plan.path, plan.mask_path or "")
        for plan in plans
    ]
    return _csv(("object", "split", "label", "image", "mask"), rows)


def _csv(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _encode(path: str, pixels: Bytes) -> bytes:
    return _ENCODERS[Path(path).suffix](pixels)


def _fill(dataset: str, folder: Path, seed: int) -> None:
    """Write every file of a dataset, and its manifest last."""
    files = {}
    for path, content in dataset_files(dataset, seed):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        files[path] = (len(content), hashlib.sha256(content).hexdigest())
    manifest = {
        "what": "SYNTHETIC images, drawn by the harness",
        "version": MINI_VERSION,
        "dataset": dataset,
        "seed": seed,
        "files": dict(sorted(files.items())),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")


def _take_place(dataset: str, partial: Path, root: Path, seed: int) -> None:
    """Move `partial/new` to `root`, out of which a drawing that no longer counts is moved first."""
    if root.is_dir() and (root / MANIFEST).is_file() and not is_complete(dataset, root, seed):
        os.replace(root, partial / "old")
    try:
        os.replace(partial / "new", root)
    except OSError:
        if not is_complete(dataset, root, seed):  # if it is, another process was quicker
            raise


def _sweep(root: Path) -> None:
    """Remove what killed drawings left beside `root`."""
    for folder in root.parent.iterdir():
        if folder.name.startswith(f".{root.name}."):
            with suppress(FileNotFoundError):  # its owner has just finished
                if is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
