"""Folders and images that attack: pipes, devices, circles of links, trees without end, absurd dimensions."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.data.files import MAX_PIXELS, list_images, read_header
from harness.data.fingerprint import fingerprint
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource
from harness.errors import DataError
from tests.data.small import load_all, protocol, request, save
from tests.drawing import draw_mvtec_category

pytestmark = pytest.mark.timeout(60)


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
    from harness.data.loader import load_masks

    split = resolve_split(request(root), "bottle")
    fingerprint(split)
    source = SplitSource(split, protocol())
    load_all(source, "train")
    load_all(source, "test")
    load_masks(split, protocol())
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


def test_folders_that_all_link_to_one_another_are_not_walked_for_ever(tmp_path):
    """Ten folders, each with links to the nine others: without a bound there are millions of paths."""
    folders = [tmp_path / f"c/train/good/{i}" for i in range(10)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in folders:
        for other in folders:
            if other != folder:
                (folder / other.name).symlink_to(other)
    start = time.process_time()
    line = refusal(list_images, tmp_path, "c/train")
    assert time.process_time() - start < 10
    assert "c/train" in line
    assert "folders" in line


def deep(folder, depth: int) -> None:
    """So many folders in one another, made one step at a time: their whole path is too long for one call."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb") as file:
        file.write(b"x")
    os.close(here)


@pytest.mark.parametrize("depth", [100, 1500])
def test_trees_without_end_are_one_line_and_no_image_is_lost_in_silence(tmp_path, depth):
    (tmp_path / "c/train/good").mkdir(parents=True)
    save(tmp_path / "c/train/good/1.png")
    deep(tmp_path / "c/train/good", depth)
    assert "more than 64 folders in one another" in refusal(list_images, tmp_path, "c/train")
    subprocess.run(["rm", "-rf", tmp_path / "c"], check=True)  # Python's own rmtree goes no deeper than its stack


def test_long_names_one_below_the_other_are_no_silent_loss(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # 20 times 250 letters are more than a path may have
        os.mkdir("d" * 250, dir_fd=here)
        here = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    assert "cannot be read (File name too long)" in refusal(list_images, tmp_path, "d" * 250)
    subprocess.run(["rm", "-rf", tmp_path / ("d" * 250)], check=True)


def png(width: int, height: int, chunks: bytes = b"") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunks


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pixels(width: int, height: int) -> bytes:
    """Black pixels of a whole PNG, a thousandth of their size."""
    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * width)
    return b"".join(packer.compress(row) for _ in range(height)) + packer.flush()


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    return (
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xc0"
        + struct.pack(">H", 2 + len(frame))
        + frame
    )


def gif(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0, 0, 0)
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
    )


def tiff(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height % 2**32}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def ppm(width: int, height: int) -> bytes:
    return f"P6\n{width} {height}\n255\n".encode()


def webp(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", [png, bmp, jpeg, gif, tiff, ppm, webp], ids=lambda kind: kind.__name__)
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


@pytest.mark.parametrize("size", [(10_000, 10_000), (1, 90_000_000)])
def test_a_whole_image_that_is_small_on_the_disk_and_huge_in_memory_is_not_decoded(root, monkeypatch, size):
    """Every chunk is right, so only its declared size can give it away."""
    width, height = size
    content = png(width, height, chunk(b"IDAT", pixels(width, min(height, 20_000))) + chunk(b"IEND", b""))
    assert len(content) < 3_000_000
    (root / "bottle/train/good/001.png").write_bytes(content)
    split = resolve_split(request(root), "bottle")
    source = SplitSource(split, protocol())
    monkeypatch.setattr(Image.Image, "load", None)
    assert f"larger than {MAX_PIXELS / 1e6:.0f} megapixels" in refusal(load_all, source, "train")


def test_a_mask_of_absurd_dimensions_is_refused_too(root):
    (root / "bottle/ground_truth/blot/000_mask.png").write_bytes(png(30_000, 30_000, chunk(b"IDAT", b"")))
    assert "000_mask.png: larger than" in refusal(resolve_split, request(root), "bottle")


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_many_frames_only_the_first_is_decoded(root, form):
    frames = [Image.fromarray(np.full((16, 16, 3), i % 256, np.uint8)) for i in range(400)]
    path = root / "bottle/train/good/001.png"
    options = {"save_all": True, "append_images": frames[1:]}
    frames[0].save(path, form, **options)
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
