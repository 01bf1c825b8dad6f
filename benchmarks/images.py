"""Images to measure on: a category `bottle` in MVTec AD's layout with as many training images as are asked for.

Real ones are linked or copied, and repeated where there are too few. Where there are none, some are drawn.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from harness.errors import RequestError

CATEGORY = "bottle"
N_TRAIN, N_TEST, SIDE = 209, 83, 900
"""Of the drawn category: as many images as MVTec AD's bottle has, of the same size in pixels."""


@dataclass(frozen=True)
class Source:
    """Files that a category is put together from."""

    label: str
    """What stands in the results: no path."""
    train: tuple[Path, ...]
    test: tuple[tuple[str, Path, Path | None], ...]
    """Defect type, image, mask (None for a normal image)."""


def real_source(data_root: Path) -> Source:
    """The files of MVTec AD's bottle.

    Raises:
        RequestError: it is not there.
    """
    folder = (data_root / "mvtec" / CATEGORY).resolve()
    train = tuple(sorted((folder / "train" / "good").glob("*.png")))
    test = []
    for image in sorted((folder / "test").glob("*/*.png")):
        defect = image.parent.name
        mask = None if defect == "good" else folder / "ground_truth" / defect / f"{image.stem}_mask.png"
        test.append((defect, image, mask))
    if not train or not test:
        raise RequestError(f"{data_root}: has no images in mvtec/{CATEGORY}; give a folder that holds mvtec/{CATEGORY}")
    return Source(f"mvtec/{CATEGORY}", train, tuple(test))


def drawn_source(folder: Path, n_train: int = N_TRAIN, n_test: int = N_TEST, side: int = SIDE) -> Source:
    """Draw normal images (soft blotches with fine noise), and a dark disc on three of four test images.

    They are PNG files of about a photograph's size in bytes, so that reading one costs about as much.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:side, :side]
    folder.mkdir(parents=True, exist_ok=True)
    images: list[Path] = []
    masks: list[Path | None] = []
    for number in range(n_train + n_test):
        coarse = Image.fromarray(rng.integers(100, 180, (side // 30 + 1, side // 30 + 1, 3), np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).copy()
        pixels += rng.integers(0, 3, pixels.shape, np.uint8)
        masks.append(None)
        if number >= n_train and number % 4:
            row, column = rng.uniform(0.3, 0.7, 2) * side
            disc = (rows - row) ** 2 + (columns - column) ** 2 < (side / 10) ** 2
            pixels[disc] //= 2
            masks[-1] = folder / f"{number:04d}_mask.png"
            Image.fromarray(disc.astype(np.uint8) * 255).save(folder / f"{number:04d}_mask.png")
        images.append(folder / f"{number:04d}.png")
        Image.fromarray(pixels).save(images[-1], compress_level=1)
    pairs = zip(images[n_train:], masks[n_train:], strict=True)
    test = tuple(("disc" if mask else "good", image, mask) for image, mask in pairs)
    return Source("drawn images, SYNTHETIC", tuple(images[:n_train]), test)


def compose(source: Source, root: Path, n_train: int | None = None, limit: int | None = None) -> tuple[int, int]:
    """Put a source's images into ROOT/bottle, each read once, and return how many training and test images these are.

    Hard links where the file system has them, else copies; no symbolic links, which anomalib passes over.

    Args:
        n_train: training images; more than there are repeat them. None: all.
        limit: at most so many of each part; of the test images half are normal. Test images are never repeated,
            since equal scores would be ties.
    """
    train = list(islice(cycle(source.train), n_train or len(source.train)))[:limit]
    test = list(source.test)
    if limit is not None and limit < len(test):
        normal = [one for one in test if one[2] is None][: limit // 2]
        test = normal + [one for one in test if one[2] is not None][: limit - len(normal)]
    category = root / CATEGORY
    files = [(image, category / "train" / "good" / f"{number:04d}.png") for number, image in enumerate(train)]
    for number, (defect, image, mask) in enumerate(test):
        files.append((image, category / "test" / defect / f"{number:04d}.png"))
        if mask is not None:
            files.append((mask, category / "ground_truth" / defect / f"{number:04d}_mask.png"))
    copies: dict[Path, Path] = {}
    for file, place in files:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(copies.get(file, file), place)
        except OSError:
            copies[file] = Path(shutil.copyfile(file, place))
        place.read_bytes()  # so that the first process does not wait for the disk
    return len(train), len(test)
