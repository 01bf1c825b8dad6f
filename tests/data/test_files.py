"""Which files of a folder are images, what their headers say; and folders and images that attack.

Pipes, devices, circles of links, trees without end, absurd dimensions.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from harness.data import files
from harness.data.files import MAX_PIXELS, Header, direct_images, list_files, read_header, subfolders
from harness.data.fingerprint import fingerprint
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource, load_masks
from harness.errors import DataError
from tests.data.small import load_all, preprocessing, request, save, save_header
from tests.drawing import draw_mvtec_category

pytestmark = pytest.mark.timeout(60)


def list_images(root, folder):
    return sorted(list_files(root, folder).images)


def test_the_accepted_extensions_are_anomalibs():
    assert {*IMG_EXTENSIONS, ".jpe", ".jfif"} == files.IMAGE_EXTENSIONS


def test_listing_finds_images_and_nothing_else(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.Tiff", "sub/deep/d.bmp", "spa ce/e.png"):
        save(tmp_path / "x" / name)
    for junk in (".hidden.png", "._b.png", "__MACOSX/._b.png", "__MACOSX/f.png", ".git/g.png", "Thumbs.db", "note.txt"):
        (tmp_path / "x" / junk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / junk).write_bytes(b"x")
    (tmp_path / "x" / "folder.png").mkdir()
    assert list_images(tmp_path, "x") == ["x/a.JPG", "x/b.png", "x/spa ce/e.png", "x/sub/c.Tiff", "x/sub/deep/d.bmp"]
    assert direct_images(tmp_path / "x") == ["a.JPG", "b.png"]
    assert subfolders(tmp_path / "x") == ["folder.png", "spa ce", "sub"]


def test_a_missing_folder_holds_nothing(tmp_path):
    assert list_images(tmp_path, "gone") == []
    assert subfolders(tmp_path / "gone") == []
    assert direct_images(save(tmp_path / "file.png")) == []


def test_links_are_followed_and_circles_are_not(tmp_path):
    save(tmp_path / "elsewhere/a.png")
    (tmp_path / "root/good").mkdir(parents=True)
    (tmp_path / "root/good/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/good/b.png").symlink_to(tmp_path / "elsewhere/a.png")
    (tmp_path / "root/good/up").symlink_to(tmp_path / "root/good")
    (tmp_path / "root/good/self").symlink_to("self")
    assert list_images(tmp_path / "root", "good") == ["good/b.png", "good/linked/a.png"]


def test_a_broken_link_is_not_passed_over(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert list_images(tmp_path, "") == ["a.png"]
    with pytest.raises(DataError, match=r"^a\.png: no such file"):
        read_header(tmp_path, "a.png")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_an_error_that_names_it(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    with pytest.raises(DataError, match=r"\\xff\.png: the file's name is not valid UTF-8"):
        list_images(tmp_path, "")


def test_a_header_says_size_and_mode(tmp_path):
    save(tmp_path / "a.png", size=(7, 5), mode="L")
    assert read_header(tmp_path, "a.png") == Header(width=7, height=5, mode="L")


@pytest.mark.parametrize(
    "content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0"]
)
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"^x\.png: cannot be decoded \(.+\); replace or remove it$") as caught:
        read_header(tmp_path, "x.png")
    assert str(tmp_path) not in str(caught.value)


def test_the_refusal_is_one_line_and_not_pillows_warning_beside_it(tmp_path, project):
    save_header(tmp_path / "big.png", 9_500, 9_500)
    code = (
        "import sys; from pathlib import Path; from harness.data.files import read_header, DataError\n"
        "try: read_header(Path(sys.argv[1]), 'big.png')\n"
        "except DataError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project)
    assert (run.stdout.count("\n"), run.stderr) == (1, "")


# What attacks


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    draw_mvtec_category(root / "bottle", n_train=2, n_good=1, n_bad=1, size=16)
    return root


def refusal(function, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert line.isprintable()
    return line


def read_all(root):
    """Everything that a run does with files: the split, its fingerprint, every image and mask."""
    split = resolve_split(request(root), "bottle")
    fingerprint(split)
    source = SplitSource(split, preprocessing())
    load_all(source, "train")
    load_all(source, "test")
    load_masks(split, preprocessing())
    return split


@pytest.mark.parametrize(
    "name", ["train/good/zz.png", "test/good/zz.png", "test/blot/zz.png", "ground_truth/blot/zz.png"]
)
def test_pipes_sockets_and_devices_are_passed_over(root, name):
    os.mkfifo(root / "bottle" / name)
    with socket.socket(socket.AF_UNIX) as end:
        os.chdir(root / "bottle")
        try:
            end.bind(f"{name}.jpg")  # its own name: a socket's path must be short
        finally:
            os.chdir(root.parents[2])
    assert len(read_all(root).train) == 2


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null", "pipe"])
@pytest.mark.parametrize(
    "name", ["train/good/000.png", "test/good/000.png", "test/blot/000.png", "ground_truth/blot/000_mask.png"]
)
def test_links_to_pipes_and_devices_are_named_and_never_read(root, tmp_path, name, target):
    os.mkfifo(tmp_path / "pipe")
    image = root / "bottle" / name
    image.unlink()
    image.symlink_to(tmp_path / target if target == "pipe" else target)
    line = refusal(read_all, root)
    assert name in line


def test_folders_that_all_link_to_one_another_are_not_walked_for_ever(tmp_path, monkeypatch):
    """Ten folders, each with links to the nine others: without a bound there are millions of paths."""
    monkeypatch.setattr(files, "MOST_FOLDERS", 500)
    folders = [tmp_path / f"c/train/good/{i}" for i in range(10)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in folders:
        for other in folders:
            if other != folder:
                (folder / other.name).symlink_to(other)
    start = time.process_time()
    assert "or 500 folders in all; remove links" in refusal(list_images, tmp_path, "c/train")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("name", "depth", "line"),
    [("d", 100, "more than 64 levels of folders"), ("d" * 250, 20, "cannot be read (File name too long)")],
)
def test_trees_without_end_are_one_line_and_no_image_is_lost_in_silence(tmp_path, name, depth, line):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):  # one step at a time: the whole path is too long for one call
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert line in refusal(list_images, tmp_path, name)
    subprocess.run(["rm", "-rf", tmp_path / name], check=True)  # Python's own rmtree takes whole paths


def png(width: int, height: int, chunks: bytes = b"") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunks


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


def tiff(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height % 2**32}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def ppm(width: int, height: int) -> bytes:
    return f"P6\n{width} {height}\n255\n".encode()


@pytest.mark.parametrize("kind", [png, bmp, tiff, ppm], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "size", [(65000, 65000), (16000, 16000), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (0, 0), (0, 5)]
)
def test_absurd_dimensions_are_refused_by_the_header(tmp_path, monkeypatch, kind, size):
    """No pixel is read, whatever the format; what a format cannot even state is refused as well."""
    monkeypatch.setattr(Image.Image, "load", None)
    try:
        content = kind(*size)
    except (struct.error, OverflowError):
        return  # this format has no room for such a number
    (tmp_path / "x.png").write_bytes(content + bytes(64))
    line = refusal(read_header, tmp_path, "x.png")
    assert line.startswith("x.png: ")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_whole_image_that_is_small_on_the_disk_and_huge_in_memory_is_not_decoded(root, monkeypatch):
    """Every chunk is right, so only its declared size can give it away."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(30_001)) for _ in range(10_000)) + packer.flush()
    content = png(10_000, 10_000, chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert len(content) < 3_000_000
    (root / "bottle/train/good/001.png").write_bytes(content)
    source = SplitSource(resolve_split(request(root), "bottle"), preprocessing())
    monkeypatch.setattr(Image.Image, "load", None)
    assert f"larger than {MAX_PIXELS / 1e6:.0f} megapixels" in refusal(load_all, source, "train")


def test_a_mask_of_absurd_dimensions_is_refused_too(root):
    (root / "bottle/ground_truth/blot/000_mask.png").write_bytes(png(30_000, 30_000, chunk(b"IDAT", b"")))
    assert "000_mask.png: larger than" in refusal(resolve_split, request(root), "bottle")


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_many_frames_only_the_first_is_decoded(root, form):
    frames = [Image.fromarray(np.full((16, 16, 3), i % 256, np.uint8)) for i in range(200)]
    frames[0].save(root / "bottle/train/good/001.png", form, save_all=True, append_images=frames[1:])
    start = time.process_time()
    if form == "GIF":
        assert "001.png" in refusal(read_all, root)
    else:
        read_all(root)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) (w) file\n", id="eps"),
        pytest.param(b"SIMPLE  =                    T" + b" " * 50 + b"END" + b" " * 3000, id="fits"),
        pytest.param(b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(40), id="psd"),
        pytest.param(b"\x00\x00\x01\x00\x01\x00\x08\x08\x00\x00\x01\x00\x20\x00" + bytes(80), id="ico"),
        pytest.param(b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0};", id="xbm"),
    ],
)  # fmt: skip
def test_formats_that_no_extension_of_ours_means_are_no_images(tmp_path, monkeypatch, content):
    """Pillow goes by content, and has decoders for many more: one of them runs a program, Ghostscript, on the file."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)
    (tmp_path / "x.png").write_bytes(content)
    assert "not an image" in refusal(read_header, tmp_path, "x.png")


def test_a_text_bomb_in_a_png_is_bounded(tmp_path):
    bomb = chunk(b"zTXt", b"x\x00\x00" + zlib.compress(bytes(60_000_000), 9))
    whole = io.BytesIO()
    Image.new("RGB", (4, 4)).save(whole, "PNG")
    content = whole.getvalue()
    (tmp_path / "x.png").write_bytes(content[:33] + bomb + content[33:])
    before = peak()
    assert "x.png" in refusal(read_header, tmp_path, "x.png")
    assert peak() - before < 50 * 2**20


def peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
