"""Images to measure on: a category `bottle` in MVTec AD's layout, the real one or a drawn one."""

import os
import shutil
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from harness.errors import RequestError

CATEGORY = "bottle"
N_TRAIN, N_TEST, SIDE = 209, 83, 900
"""Of the drawn category: as many images as MVTec AD's bottle has, of the same size in pixels."""


def find_bottle(data_root: Path | None, scratch: Path, limit: int | None) -> tuple[Path, str]:
    """Return the folder that holds the category, and what stands in the results for it: no path.

    Args:
        data_root: holds mvtec/bottle; without it the images are drawn below `scratch`.
        limit: draw so few and small ones, whatever else there is.

    Raises:
        RequestError: the bottle is not there, or the limit is below 2.
    """
    if limit is not None and limit < 2:
        raise RequestError("--limit must be at least 2")
    if data_root is None or limit is not None:
        draw(scratch / "drawn", *((N_TRAIN, N_TEST, SIDE) if limit is None else (limit, 2 * limit, 120)))
        return scratch / "drawn", "drawn images, SYNTHETIC"
    root = (data_root / "mvtec").resolve()
    if not all(count(root)):
        raise RequestError(f"{data_root}: has no images in mvtec/{CATEGORY}; give a folder that holds mvtec/{CATEGORY}")
    return root, f"mvtec/{CATEGORY}"


def draw(root: Path, n_train: int, n_test: int, side: int) -> None:
    """Draw normal images (soft blotches with fine noise), and a dark disc on three of four test images."""
    from PIL import Image

    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:side, :side]
    category = root / CATEGORY
    for folder in ("train/good", "test/good", "test/disc", "ground_truth/disc"):
        (category / folder).mkdir(parents=True)
    for number in range(n_train + n_test):
        coarse = Image.fromarray(rng.integers(100, 180, (side // 30 + 1, side // 30 + 1, 3), np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).copy()
        pixels += rng.integers(0, 3, pixels.shape, np.uint8)
        place = "train/good" if number < n_train else "test/disc" if number % 4 else "test/good"
        if place == "test/disc":
            row, column = rng.uniform(0.3, 0.7, 2) * side
            disc = (rows - row) ** 2 + (columns - column) ** 2 < (side / 10) ** 2
            pixels[disc] //= 2
            Image.fromarray(disc.astype(np.uint8) * 255).save(category / f"ground_truth/disc/{number:04d}_mask.png")
        Image.fromarray(pixels).save(category / place / f"{number:04d}.png", compress_level=1)


def repeat(root: Path, copy: Path, n_train: int) -> None:
    """Put the category into another folder, with so many training images: repeated where there are too few.

    Hard links where the file system has them, else copies; no symbolic links, which anomalib passes over.
    """

    def link(file: str, place: str) -> None:
        try:
            os.link(file, place)
        except OSError:
            shutil.copyfile(file, place)

    source, target = root / CATEGORY, copy / CATEGORY
    shutil.copytree(source, target, copy_function=link, ignore=shutil.ignore_patterns("train"))
    (target / "train" / "good").mkdir(parents=True)
    images = sorted((source / "train" / "good").glob("*.png"))
    for number, image in enumerate(islice(cycle(images), n_train)):
        link(str(image), str(target / "train" / "good" / f"{number:04d}.png"))


def count(root: Path) -> tuple[int, int]:
    """Count the training and test images, and read each once, so that the first process does not wait for the disk."""
    parts = [list((root / CATEGORY).glob(f"{part}/*/*.png")) for part in ("train", "test")]
    for image in parts[0] + parts[1]:
        image.read_bytes()
    return len(parts[0]), len(parts[1])
