"""What counts as an image file, how folders are listed, and what an image's header says."""

from __future__ import annotations

import itertools
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from harness.errors import DataError

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""The extensions anomalib accepts (torchvision's list), in any case."""

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What these extensions mean to Pillow. It goes by content and knows many more, one of which runs Ghostscript."""

DEEPEST_FOLDER, MOST_FOLDERS = 64, 10_000
"""Of one listing. Deeper trees and more folders are links that lead back and forth, or no dataset."""

MAX_PIXELS = 89_478_485
"""Larger images are refused before they are decoded: Pillow's own limit, about 1 GiB as float32 RGB."""

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's plugins raise on broken files. torch's RuntimeError is not among them: that is no fault of the file."""

# `read_header` refuses such an image in one line of its own.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say."""

    width: int
    height: int
    mode: str
    """Pillow's mode, for example L, RGB, RGBA, P, CMYK or I;16."""


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is never data: hidden, or left by an archiver."""
    return name.startswith(".") or name == "__MACOSX"


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; none where `folder` is missing.

    Links to folders count as folders, wherever they lead: image folders are often linked in from elsewhere.
    """
    return sorted(entry.name for entry in _scan(folder) if _is_dir(entry) and not is_junk(entry.name))


def direct_images(folder: Path) -> list[str]:
    """Names of the images that lie in `folder` itself, sorted; none where it is missing."""
    return sorted(entry.name for entry in _scan(folder) if _is_image(entry))


def list_images(root: Path, folder: str) -> list[str]:
    """Paths of all images below `root/folder`, relative to `root`, sorted; none where the folder is missing.

    Sub-folders and links are followed (a link that leads back to a folder above itself is not). Hidden names,
    `__MACOSX`, folders whose name ends like an image's, and other files (`Thumbs.db`, texts) are passed over.

    Raises:
        DataError: a folder cannot be read, there are too many or too deep ones, or a name is not valid UTF-8.
    """
    found: list[str] = []
    _walk(root / folder, PurePosixPath(folder), (), found, itertools.count(1))
    return sorted(found)


def one_of(names: Collection[str], accepted: Collection[str]) -> list[str]:
    """Those of `names` that are, in any case, among `accepted`."""
    return [name for name in names if name.lower() in accepted]


def read_header(root: Path, name: str) -> Header:
    """The header of the image `root/name`; reads no pixel.

    Raises:
        DataError: the file is missing, no image, or has more than MAX_PIXELS pixels.
    """
    with decoding(name):
        refuse_special(root / name, name)
    with decoding(name), Image.open(root / name, formats=FORMATS) as image:
        header = Header(image.width, image.height, image.mode)
    if header.width * header.height > MAX_PIXELS:
        raise DataError(_too_large(name))
    return header


def refuse_special(path: Path, name: str) -> os.stat_result:
    """Refuse a pipe, a socket or a device in an image's place, which would be read for ever; return the file's status.

    Raises:
        DataError: it is one; names it.
        OSError: it is not there, or cannot be looked at.
    """
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise DataError(f"{name}: is a pipe, a socket or a device, and no file; remove it")
    return status


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn what Pillow raises on a bad file into a DataError that names the file, `name` relative to the root."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(name)) from error
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file; restore it, or remove what refers to it") from error
    except Image.UnidentifiedImageError as error:
        # Pillow's own message repeats the absolute path.
        raise DataError(f"{name}: cannot be decoded (not an image of a known format); replace or remove it") from error
    except DECODE_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise DataError(f"{name}: cannot be decoded ({reason}); replace or remove it") from error


def _too_large(name: str) -> str:
    return f"{name}: larger than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down or cut it into tiles"


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    if is_junk(entry.name) or PurePosixPath(entry.name).suffix.lower() not in IMAGE_EXTENSIONS or _is_dir(entry):
        return False
    # A broken link counts: opening it names it, where passing over it would lose an image in silence.
    return entry.is_symlink() or entry.is_file()


def _walk(
    folder: Path, relative: PurePosixPath, above: tuple[tuple[int, int], ...], found: list[str], number: Iterator[int]
) -> None:
    try:
        status = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DataError(f"{relative}: cannot be read ({error.strerror}); move or remove it") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    if len(above) > DEEPEST_FOLDER or next(number) > MOST_FOLDERS:
        raise DataError(
            f"{relative}: more than {DEEPEST_FOLDER} folders in one another, or {MOST_FOLDERS} in all; remove links "
            "that lead back and forth, and what are no images"
        )
    for entry in _scan(folder):
        if is_junk(entry.name):
            continue
        name = relative / entry.name
        if _is_dir(entry):
            _walk(folder / entry.name, name, (*above, here), found, number)
        elif _is_image(entry):
            found.append(_utf8(str(name)))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error


def _utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        readable = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise DataError(f"{readable}: the file's name is not valid UTF-8; rename it") from error
    return name
