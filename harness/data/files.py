"""What lies in a folder: which files are images, which are not read, and what an image's header says."""

import itertools
import os
import stat
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import ExifTags, Image

from harness.errors import DataError


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


IMAGE_EXTENSIONS = word_set(".jpg .jpeg .jpe .jfif .png .ppm .bmp .pgm .tif .tiff .webp")
"""The extensions that are read, in any case: those of anomalib, and two more names for JPEG."""

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What these extensions mean to Pillow. It goes by content and knows many more, one of which runs Ghostscript."""

UNREAD_EXTENSIONS = word_set(
    ".heic .heif .hif .avif .avifs .jxl .jp2 .j2k .jxr .gif .apng .mng .psd .xcf .svg .tga .exr .hdr .dcm .fits "
    ".npy .raw .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .raf .rw2 .pef .srw .x3f .3fr .iiq .mp4 .mov "
    ".avi"
)
"""Images and films that are not read; a note counts them apart from other files."""

SYSTEM_NAMES = word_set(
    "@eadir @tmp @recycle @recently-snapshot #recycle #snapshot ~snapshot $recycle.bin recycler __macosx __pycache__ "
    "lost+found thumbnails thumbs thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini picasa.ini"
) | {"icon\r", "system volume information", "network trash folder", "temporary items"}
"""What network disks and systems leave behind, in lower case; never data, nor is what lies in it."""

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
    """Pixels, as stored; of a TIFF as Pillow turns it."""
    mode: str
    """Pillow's mode, for example L, RGB, RGBA, P, CMYK or I;16."""
    orientation: int = 1
    """EXIF's, 1 to 8; above 1 a viewer turns or mirrors the image."""
    to_turn: bool = False
    """Whether the orientation is still to be applied once Pillow has decoded the image: not in a TIFF."""
    deep: bool = False
    """More than 8 bits a channel."""
    frames: int = 1
    """Pages of a TIFF, frames of an animation; the first is read."""

    @property
    def turned(self) -> tuple[int, int]:
        """(width, height) as a viewer shows it."""
        return (self.height, self.width) if self.to_turn and self.orientation >= 5 else (self.width, self.height)


@dataclass
class Listing:
    """Every file below a folder, as paths relative to the root, in no order."""

    images: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.images, *self.unread, *self.other, *self.system]


def nfc(name: str) -> str:
    """Return the name with composed letters, in which names are compared: some disks hold them decomposed."""
    return unicodedata.normalize("NFC", name)


def is_junk(name: str) -> bool:
    """Tell whether a file or folder of this name is never data: hidden, or left by a system or an archiver."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders, and links to folders, in `folder`, sorted; none where it is missing."""
    return sorted(entry.name for entry in _scan(folder) if _is_dir(entry) and not is_junk(entry.name))


def direct_images(folder: Path) -> list[str]:
    """Return the names of the images that lie in `folder` itself, sorted; none where it is missing."""
    return sorted(entry.name for entry in _scan(folder) if _is_image(entry))


def list_files(root: Path, folder: str) -> Listing:
    """List every file below `root/folder`; none where the folder is missing.

    Sub-folders and links are followed (a link that leads back to a folder above itself is not).

    Raises:
        DataError: a folder cannot be read, there are too many or too deep ones, or a name is not valid UTF-8.
    """
    found, number = Listing(), itertools.count(1)

    def walk(relative: PurePosixPath, above: tuple[tuple[int, int], ...]) -> None:
        entries = _scan(root / relative)
        status = (root / relative).stat() if entries else None
        if status is None or (here := (status.st_dev, status.st_ino)) in above:
            return
        if len(above) > DEEPEST_FOLDER or next(number) > MOST_FOLDERS:
            raise DataError(
                f"{relative}: more than {DEEPEST_FOLDER} levels of folders, or {MOST_FOLDERS} folders in all; remove "
                "links that form a circle, and folders without images"
            )
        for entry in entries:
            name = relative / entry.name
            if is_junk(entry.name):
                found.system += _below(entry, name)
            elif _is_dir(entry):
                walk(name, (*above, here))
            elif _is_image(entry):
                readable = os.fsencode(name).decode(errors="backslashreplace")
                if readable != str(name):
                    raise DataError(f"{readable}: the file's name is not valid UTF-8; rename it")
                found.images.append(str(name))
            elif name.suffix.lower() in UNREAD_EXTENSIONS:
                found.unread.append(str(name))
            else:
                found.other.append(str(name))

    walk(PurePosixPath(folder), ())
    return found


def plain(name: str) -> str:
    """Return a folder's name as it is compared: in lower case, without blanks around it."""
    return name.strip().lower()


def one_of(names: Collection[str], accepted: Collection[str]) -> list[str]:
    """Return those of `names` that are, in any case and with any blanks around them, among `accepted`."""
    return [name for name in names if plain(name) in accepted]


def some_names(names: Collection[str]) -> str:
    """Write at most three of the names, for a note."""
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")


def counted(names: Collection[str], what: str) -> list[str]:
    """Return a note with the number of files of which `what` is true, and some of their names; [] for no files."""
    return [f"{len(names)} {what}: {some_names(names)}"] if names else []


def read_header(root: Path, name: str) -> Header:
    """Read the header of the image `root/name`, and no pixel.

    Raises:
        DataError: the file is missing, no image, or has more than MAX_PIXELS pixels.
    """
    with decoding(name):
        refuse_special(root / name, name)
    with decoding(name), Image.open(root / name, formats=FORMATS) as image:
        orientation = _orientation(image)
        header = Header(
            image.width,
            image.height,
            image.mode,
            orientation,
            to_turn=orientation > 1 and image.format != "TIFF",
            deep=image.mode in {"I", "F"} or any(";16" in str(tile[3]) for tile in image.tile),
            frames=int(getattr(image, "n_frames", 1)) if image.format in {"TIFF", "WEBP", "PNG"} else 1,
        )
    if header.width * header.height > MAX_PIXELS:
        raise DataError(_too_large(name))
    return header


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole image to look for it
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODE_ERRORS:  # a damaged tag turns nothing, in a viewer neither
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def refuse_special(path: Path, name: str) -> os.stat_result:
    """Refuse a pipe, a socket or a device, which would be read for ever, with a DataError; return the file's status."""
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise DataError(f"{name}: is a pipe, a socket or a device, not a file; remove it")
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


def _below(entry: os.DirEntry[str], name: PurePosixPath) -> list[str]:
    """List the file itself, or all files below a folder that is not read."""
    if not _is_dir(entry) or entry.is_symlink():
        return [str(name)]
    return [
        str(name / Path(at).relative_to(entry.path) / file) for at, _, files in os.walk(entry.path) for file in files
    ]


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror}); check its permissions, or move or remove it"
        ) from error
