"""Images to measure on: a category in MVTec AD's layout with as many training and test images as are asked for.

Real ones are linked or copied, and repeated where there are too few. Where there are none the mini benchmark's bottle
is drawn again and again with other seeds, so that no two images are the same, and enlarged to the size of MVTec AD's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.split import spread
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.data.mini.canvas import Bytes

CATEGORY = "bottle"
N_TRAIN, N_TEST = 209, 83
"""Of the drawn category where nothing else is asked for: about as many as MVTec AD's bottle has."""
SIDE = 900
"""Pixels along a side of MVTec AD's bottle."""
_DRAWN = "mini_mvtec"
_GOOD = "good"


@dataclass(frozen=True)
class Images:
    """A category that both sides read."""

    root: Path
    """Holds the category's folder."""
    category: str
    label: str
    """What stands in the results: no path."""
    synthetic: bool
    n_train: int
    n_test: int


@dataclass(frozen=True)
class Source:
    """Files that a category is put together from."""

    label: str
    synthetic: bool
    train: tuple[Path, ...]
    test: tuple[tuple[str, Path, Path | None], ...]
    """Defect type, image, mask (None for a normal image)."""
    root: Path | None = None
    """Where it lies in MVTec AD's layout already."""


def real_source(data_root: Path, category: str = CATEGORY) -> Source:
    """The files of a category of MVTec AD.

    Raises:
        RequestError: it is not there.
    """
    folder = (data_root / "mvtec" / category).resolve()
    train = tuple(sorted((folder / "train" / _GOOD).glob("*.png")))
    test = []
    for image in sorted((folder / "test").glob("*/*.png")):
        defect = image.parent.name
        mask = folder / "ground_truth" / defect / f"{image.stem}_mask.png"
        test.append((defect, image, None if defect == _GOOD else mask))
    if not train or not test:
        raise RequestError(f"{data_root}: has no images in mvtec/{category}; give a folder that holds mvtec/{category}")
    return Source(f"mvtec/{category}", False, train, tuple(test), folder.parent)


def drawn_source(folder: Path, *, n_train: int = N_TRAIN, n_test: int = N_TEST, side: int = SIDE) -> Source:
    """Draw the mini benchmark's bottle into `folder`, with other seeds until there are enough images of `side` pixels.

    There are `n_train` training images and at least `n_test` test images.

    They are PNGs compressed as usual, so that reading one costs about what reading a photograph costs.
    """
    from harness.data.mini.draw import draw_plan, plan_category

    train: list[Path] = []
    test: list[tuple[str, Path, Path | None]] = []
    for seed in count():
        wanted = {"train": n_train - len(train), "test": n_test - len(test)}
        if max(wanted.values()) <= 0:
            break
        for plan in plan_category(_DRAWN, CATEGORY):
            # The test images of one drawing stay together: good ones come first, and both kinds are needed.
            if wanted[plan.part] <= 0 or (plan.part == "train" and len(train) == n_train):
                continue
            drawn = draw_plan(plan, seed)
            image = _write(folder / str(seed) / plan.path, drawn.image, side)
            if plan.part == "train":
                train.append(image)
                continue
            mask = None
            if drawn.mask is not None:
                mask = _write(folder / str(seed) / str(plan.mask_path), drawn.mask, side)
            test.append((plan.defect, image, mask))
    return Source(f"{_DRAWN}/{CATEGORY}, drawn", True, tuple(train), tuple(test))


def _write(path: Path, pixels: Bytes, side: int) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    resampling = Image.Resampling.BICUBIC if pixels.ndim == 3 else Image.Resampling.NEAREST
    Image.fromarray(pixels).resize((side, side), resampling).save(path, compress_level=1)
    return path


def prepare_source(data_root: Path | None, folder: Path, *, limit: int | None = None) -> Source:
    """Real images where there is a data root, else drawn ones in `folder`, at least `limit` of each part.

    Raises:
        RequestError: as `real_source`.
    """
    if data_root is not None:
        return real_source(data_root)
    return drawn_source(folder, n_train=limit or N_TRAIN, n_test=limit or N_TEST)


def compose(source: Source, folder: Path, *, n_train: int | None = None, n_test: int | None = None) -> Images:
    """Put `n_train` training and `n_test` test images of a source into FOLDER/bottle; None means all there are.

    Fewer training images are spread over the source; more repeat it from the start. Test images are never repeated,
    since equal scores would be ties; of fewer, half are normal. All of a category that lies in the layout already stay
    where they are. No symbolic links: anomalib passes over files that lie elsewhere.

    Raises:
        RequestError: more test images than the source has, or fewer than one normal and one defective one.
    """
    if source.root is not None and n_train is None and n_test is None:
        return Images(source.root, CATEGORY, source.label, source.synthetic, len(source.train), len(source.test))
    train = _repeated(source.train, len(source.train) if n_train is None else n_train)
    test = _fewer(source.test, len(source.test) if n_test is None else n_test)
    category = folder / CATEGORY
    placed: dict[Path, Path] = {}
    for number, image in enumerate(train):
        _place(image, category / "train" / _GOOD / f"{number:04d}{image.suffix}", placed)
    for number, (defect, image, mask) in enumerate(test):
        _place(image, category / "test" / defect / f"{number:04d}{image.suffix}", placed)
        if mask is not None:
            _place(mask, category / "ground_truth" / defect / f"{number:04d}_mask{mask.suffix}", placed)
    return Images(folder, CATEGORY, source.label, source.synthetic, len(train), len(test))


def _repeated(images: Sequence[Path], n: int) -> list[Path]:
    return spread(images, n) if n <= len(images) else list(islice(cycle(images), n))


def _fewer(test: Sequence[tuple[str, Path, Path | None]], n: int) -> list[tuple[str, Path, Path | None]]:
    normal = [one for one in test if one[2] is None]
    defective = [one for one in test if one[2] is not None]
    n_normal = len(normal) if n == len(test) else min(len(normal), n // 2)
    n_defective = n - n_normal
    if n_normal < 1 or not 1 <= n_defective <= len(defective):
        raise RequestError(f"{n} test images of {len(test)}: at least one normal and one defective one are needed")
    return spread(normal, n_normal) + spread(defective, n_defective)


def _place(file: Path, place: Path, placed: dict[Path, Path]) -> None:
    """A hard link where the file system has them, else one copy and links to it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(placed.get(file, file), place)
    except OSError:
        shutil.copyfile(file, place)
        placed[file] = place


def files_of(images: Images) -> Iterator[Path]:
    """Every file of the category, to be read once so that the first contestant does not wait for the disk."""
    return (path for path in sorted((images.root / images.category).rglob("*")) if path.is_file())
