"""What the tests of harness.data share: one-colour images, dataset requests, protocols, a part's batches."""

from __future__ import annotations

import shlex
import shutil
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.config.settings import DatasetConfig, PreprocessingConfig

if TYPE_CHECKING:
    import torch

    from harness.data.loader import Part, SplitSource

HOSTILE_NAMES = ["01", "1_0", "1e3", "two words", "a,b=c", "[x]{y}", "it's", 'say "hi"', "größe", "瓶", "#&~$(z)", "-v"]


def save(path: Path, *, size: tuple[int, int] = (8, 6), value: int = 100, mode: str = "RGB") -> Path:
    """Write an image of (width, height) pixels in one grey value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode == "L" else (value,) * len(mode)
    Image.new(mode, size, colour).save(path)
    return path


def save_header(path: Path, width: int, height: int) -> Path:
    """Write a PNG that ends where its pixels would begin: as large as its header says, and quickly made."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content + struct.pack(">I", 8) + b"IDAT" + bytes(12))
    return path


def change(folder: Path, script: str) -> None:
    """Do what a script of mv, cp, rm and new (a small image of one colour) says, one after the other."""
    for line in script.split("; "):
        command, *names = shlex.split(line)
        old, new = folder / names[0], folder / names[-1]
        new.parent.mkdir(parents=True, exist_ok=True)
        if command == "mv":
            old.rename(new)
        elif command == "cp":
            (shutil.copytree if old.is_dir() else shutil.copy)(old, new)
        elif command == "rm":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        else:
            save(new)


def request(root: Path, layout: str = "mvtec", **changes: object) -> DatasetConfig:
    """A dataset of that layout; named so that it has no official counts, unless a name is given."""
    return DatasetConfig(**{"name": f"drawn_{layout}", "layout": layout, "root": root, **changes})


def preprocessing(**changes: object) -> PreprocessingConfig:
    """A small preprocessing with everything in it: resize, crop, normalisation."""
    values = {
        "resize": (64, 64),
        "interpolation": "bilinear",
        "antialias": True,
        "center_crop": (56, 56),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "batch_size": 4,
    }
    return PreprocessingConfig(**{**values, **changes})


def as_stored(height: int, width: int) -> PreprocessingConfig:
    """A preprocessing that changes nothing: batches are the file's pixels in [0, 1]."""
    return preprocessing(resize=(height, width), center_crop=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def load_all(source: SplitSource, part: Part) -> list[torch.Tensor]:
    """All batches of a part, in order."""
    return [source.load_batch(part, number) for number in range(source.n_batches(part))]


def grey_ramp(height: int = 6, width: int = 8) -> np.ndarray:
    """(height, width) uint8, every pixel another value."""
    return np.linspace(3, 250, height * width).round().astype(np.uint8).reshape(height, width)
