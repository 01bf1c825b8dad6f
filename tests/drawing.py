"""Small drawn images in MVTec AD's layout: a bright disc on a dark ground, defective where a blot covers it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_image(rng: np.random.Generator, size: int, *, blot: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return an RGB image (size, size, 3) uint8 and its defect mask (size, size) uint8 in {0, 255}."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    shift = rng.normal(0, 0.01, 2)
    disc = np.hypot(y - shift[0], x - shift[1]) < 0.35
    image = np.where(disc[..., None], [200, 170, 90], [40, 50, 60]) + rng.normal(0, 6, (size, size, 3))
    mask = np.zeros((size, size), bool)
    if blot:
        centre = rng.uniform(-0.2, 0.2, 2)
        mask = np.hypot(y - centre[0], x - centre[1]) < rng.uniform(0.06, 0.12)
        image[mask] = rng.uniform(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8), mask.astype(np.uint8) * 255


def draw_mvtec_category(
    folder: Path, *, n_train: int = 12, n_good: int = 4, n_bad: int = 6, size: int = 96, seed: int = 0
) -> None:
    """Write train/good, test/good, test/blot and ground_truth/blot below `folder`, deterministic in `seed`."""
    rng = np.random.default_rng(seed)
    for part, count, blot in (("train/good", n_train, False), ("test/good", n_good, False), ("test/blot", n_bad, True)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image, mask = draw_image(rng, size, blot=blot)
            Image.fromarray(image).save(folder / part / f"{i:03d}.png")
            if blot:
                (folder / "ground_truth/blot").mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(folder / "ground_truth/blot" / f"{i:03d}_mask.png")


def draw_visa_category(
    root: Path, category: str, *, n_train: int = 6, n_good: int = 3, n_bad: int = 4, size: int = 96, seed: int = 0
) -> None:
    """Write `category` below `root` as VisA's archive has it, and add its rows to `split_csv/1cls.csv`.

    JPEGs named .JPG, 4:3 and not square; masks whose defective pixels are 1, not 255; rows in no order; train and test
    images side by side in one folder.
    """
    rng = np.random.default_rng(seed)
    rows = []
    images, masks = root / category / "Data/Images", root / category / "Data/Masks/Anomaly"
    for folder in (images / "Normal", images / "Anomaly", masks, root / "split_csv"):
        folder.mkdir(parents=True, exist_ok=True)
    for i in range(n_train + n_good):
        image, _ = draw_image(rng, size, blot=False)
        name = f"Normal/{i:04d}.JPG"
        Image.fromarray(image[: size * 3 // 4]).save(images / name, format="JPEG", quality=95)
        part = "train" if i % (n_train + n_good) >= n_good else "test"
        rows.append(f"{category},{part},normal,{category}/Data/Images/{name},")
    for i in range(n_bad):
        image, mask = draw_image(rng, size, blot=True)
        Image.fromarray(image[: size * 3 // 4]).save(images / f"Anomaly/{i:03d}.JPG", format="JPEG", quality=95)
        Image.fromarray(mask[: size * 3 // 4] // 255).save(masks / f"{i:03d}.png")
        rows.append(
            f"{category},test,anomaly,{category}/Data/Images/Anomaly/{i:03d}.JPG,"
            f"{category}/Data/Masks/Anomaly/{i:03d}.png"
        )
    table = root / "split_csv/1cls.csv"
    lines = table.read_text().splitlines() if table.exists() else ["object,split,label,image,mask"]
    table.write_text("\n".join([*lines, *(rows[i] for i in rng.permutation(len(rows)))]) + "\n")


def draw_btad_category(
    folder: Path,
    *,
    image_suffix: str = ".bmp",
    mask_suffix: str = ".png",
    n_train: int = 6,
    n_good: int = 3,
    n_bad: int = 4,
    size: int = 96,
    seed: int = 0,
) -> None:
    """Write train/ok, test/ok, test/ko and ground_truth/ko below `folder` as BTAD's archive has them, 4:3."""
    rng = np.random.default_rng(seed)
    for part, count, blot in (("train/ok", n_train, False), ("test/ok", n_good, False), ("test/ko", n_bad, True)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image, mask = draw_image(rng, size, blot=blot)
            Image.fromarray(image[: size * 3 // 4]).save(folder / part / f"{i:04d}{image_suffix}")
            if blot:
                (folder / "ground_truth/ko").mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask[: size * 3 // 4]).save(folder / "ground_truth/ko" / f"{i:04d}{mask_suffix}")
