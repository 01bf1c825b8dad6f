"""What a run would read of a folder of one's own, told before any run, by the run's own code."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from harness.config.settings import DatasetConfig, PreprocessingConfig
from harness.data.files import list_files, read_header, some_names, subfolders
from harness.data.layouts import resolve_split
from harness.data.pixels import in_threads, read_pixels
from harness.data.split import ANOMALOUS, Sample, Split
from harness.data.tree import holds_layout, is_category

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def categories_in(folder: Path) -> list[Path]:
    """Return the folder itself or, where nothing in it shows that it is a category, those of its folders that are."""
    inner = [] if is_category(folder) else [folder / name for name in subfolders(folder)]
    return [path for path in inner if holds_layout(path)] or [folder]


def outside(folder: Path, categories: Sequence[Path]) -> list[str]:
    """Return a note on what a folder of categories holds beside them.

    Raises:
        DataError: as `list_files`.
    """
    if list(categories) == [folder]:
        return []
    listing, read = list_files(folder, ""), {category.name for category in categories}
    paths = [PurePosixPath(name) for name in (*listing.images, *listing.unread, *listing.other)]
    paths = [path for path in paths if path.parts[0] not in read]
    folders = {path.parts[0] for path in paths if len(path.parts) > 1}
    loose = [path.name for path in paths if len(path.parts) == 1]
    where = [f"in {len(folders)} folders ({some_names(folders)})"] if folders else []
    where += [f"{len(loose)} beside the categories ({some_names(loose)})"] if loose else []
    return [f"{len(paths)} files of no category are not read: {' and '.join(where)}"] if paths else []


def preview(folder: Path, preprocessing: PreprocessingConfig, white_level: float | None = None) -> Iterator[str]:
    """Yield a tree with counts, sizes, formats, every note, and the command that runs it; decode every image.

    Raises:
        UserError: what would stop the run, with its line.
    """
    dataset = DatasetConfig(name="folder", layout="folder", root=folder.parent, white_level=white_level)
    split = resolve_split(dataset, folder.name, preprocessing)
    images = [sample.path for sample in (*split.train, *split.test)]
    in_threads(lambda name: read_pixels(split.root, name, split.reading).shape, images)
    yield str(folder)
    yield from _tree(split)
    sizes = Counter(read_header(split.root, name).turned for name in images)
    yield f"sizes: {_listed({f'{width}x{height}': count for (width, height), count in sizes.items()})}"
    yield f"formats: {_listed(Counter(PurePosixPath(name).suffix.lower() for name in images))}"
    yield from (f"note: {note}" for note in split.notes)
    yield f"run it: {command(folder, white_level)}"


def command(folder: Path, white_level: float | None) -> str:
    """Return the command that runs a category, as a reader can paste it into a shell."""
    from harness.config.overrides import render

    name = folder.name if _PLAIN_NAME.fullmatch(folder.name) else render(folder.name)
    arguments = ["dataset=folder", f"dataset.root={folder.parent}", f"category={name}"]
    arguments += [f"dataset.white_level={white_level:g}"] if white_level is not None else []
    return f".venv/bin/python -m harness {' '.join(shlex.quote(argument) for argument in arguments)}"


def _tree(split: Split) -> Iterator[str]:
    groups: dict[str, list[Sample]] = {}
    for sample in split.test:
        groups.setdefault(sample.defect if sample.label == ANOMALOUS else "", []).append(sample)
    lines = [f"training: {len(split.train)} good images", f"test: {len(groups.pop('', []))} good images"]
    for defect, samples in sorted(groups.items()):
        masks = sum(sample.mask is not None for sample in samples)
        lines.append(f"test: {len(samples)} defective images, {defect!r}, {masks} masks")
    yield from (f"├── {line}" for line in lines[:-1])
    yield f"└── {lines[-1]}"


def _listed(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {what}" for what, count in ordered[:5]) + (", ..." if len(ordered) > 5 else "")
