"""VisA's 1cls.csv and folders of images: a split whose files lie where it says, or one line."""

from __future__ import annotations

import io
import os
import shutil
import socket
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example
from hypothesis import strategies as st
from PIL import Image

from harness.data.fingerprint import fingerprint
from harness.data.layouts import VISA_SPLIT, resolve_split
from tests.data.small import request
from tests.drawing import draw_visa_category
from tests.fuzz.strategies import HOSTILE, damaged, texts
from tests.fuzz.target import answer, fuzz


def encoded(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [encoded(grey) for grey in range(5)]


@pytest.fixture(scope="module")
def visa(tmp_path_factory):
    root = tmp_path_factory.mktemp("visa")
    draw_visa_category(root, "candle", size=16)
    os.mkfifo(root / "pipe.png")
    (root / "zero.png").symlink_to("/dev/zero")
    return root


def resolve(root: Path, layout: str, category: str):
    """The split, and its fingerprint, which opens every file."""
    split = resolve_split(request(root, layout), category)
    return split, fingerprint(split)


HEADER = b"object,split,label,image,mask\n"
GOOD = (
    b"candle,train,normal,candle/Data/Images/Normal/0000.JPG,\ncandle,test,normal,candle/Data/Images/Normal/0001.JPG,\n"
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Rows as VisA's file has them, and rows that attack."""
    images, masks = "candle/Data/Images", "candle/Data/Masks"
    paths = texts | st.sampled_from(
        [
            *(f"{images}/Normal/0000.JPG", f"{images}/Anomaly/000.JPG", f"{masks}/Anomaly/000.png"),
            *(f"../visa/{images}/Normal/0000.JPG", "/etc/passwd", "pipe.png", "zero.png", "candle", ".", "nowhere.png"),
        ]
    )
    row = st.tuples(
        st.sampled_from(["candle", "other"]), st.sampled_from(["train", "test", "val"]),
        st.sampled_from(["normal", "anomaly", ""]), paths, paths | st.just(""),
    )  # fmt: skip
    rows = [",".join(fields) for fields in draw(st.lists(row, max_size=2))]
    usual = draw(st.sampled_from([b"", GOOD, GOOD, GOOD]))
    return HEADER + usual + "\n".join([*rows, ""]).encode("utf-8", "replace")


def visa_split(root: Path, content: bytes):
    (root / VISA_SPLIT).write_bytes(content)
    found = answer(resolve, root, "visa", "candle")
    if found is not None:
        for sample in (*found[0].train, *found[0].test):
            for name in (sample.path, sample.mask):
                assert name is None or (found[0].root / name).is_file()
                assert name is None or ".." not in PurePosixPath(name).parts


@pytest.mark.timeout(120)
@fuzz(100, content=tables())
@example(HEADER + GOOD + b"candle,test,normal,pipe.png,\n")
@example(HEADER + GOOD + b"candle,train,normal,zero.png,\n")
@example(HEADER + GOOD + b"candle,train,normal,a\x00b.png,\n")
@example(HEADER + GOOD + b"candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/\x00\n")
@example(HEADER + GOOD + b"candle,train,normal," + b"a" * 300 + b".png,\n")
@example(HEADER + GOOD + b"candle,train,normal," + b"a/" * 3000 + b"x.png,\n")
@example(HEADER + b"a" * 140_000 + b",,,,\n")
@example(HEADER + GOOD + b"x,y,z,1,2,3,4,5\n")
def test_any_visa_table_is_a_split_or_one_line(visa, content):
    visa_split(visa, content)


@fuzz(80, data=st.data())
def test_a_damaged_visa_table_is_a_split_or_one_line(visa, tmp_path_factory, data):
    whole = visa / "whole.csv"
    if not whole.exists():
        other = tmp_path_factory.mktemp("other")
        draw_visa_category(other, "candle", size=16)
        shutil.copy(other / VISA_SPLIT, whole)
    visa_split(visa, data.draw(damaged(whole.read_bytes())))


PARTS = ("train", "test", "ground_truth", "masks", "good", "normal", "ok", "ko", "bad", "Good", "c", "a.png", *HOSTILE)
KINDS = (
    "image",
    "image",
    "image",
    "image",
    "text",
    "empty",
    "folder",
    "pipe",
    "socket",
    "loop",
    "broken",
    "zero",
    "up",
)
USUAL = [
    [(f"c/{name}.png", "image") for name in names]
    for names in (
        ("train/good/a", "test/good/a", "test/bad/1", "ground_truth/bad/1_mask"),
        ("train/ok/a", "test/ok/a", "test/ko/1", "ground_truth/ko/1"),
        ("good/a", "good/b", "bad/1"),
        (),
    )
]  # fmt: skip


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Paths below the root, and what lies there; folders of one's own with a few oddities in them."""
    part = st.sampled_from(PARTS)
    leaf = (
        st.sampled_from(["1.png", "2.PNG", "1_mask.png", "x.jpg", "y.bmp", "\udcff.png", "a\nb.png", "=1.png"]) | part
    )
    usual = st.sampled_from(
        [
            "c/train/good",
            "c/train/good",
            "c/test/good",
            "c/test/bad",
            "c/ground_truth/bad",
            "c/good",
            "c/bad",
            "c/masks/bad",
        ]
    )
    folder = usual | st.lists(part, max_size=4).map("/".join)
    odd = draw(st.lists(st.tuples(st.builds("{}/{}".format, folder, leaf), st.sampled_from(KINDS)), max_size=6))
    return [*draw(st.sampled_from(USUAL)), *odd]


def grow(root: Path, tree: list[tuple[str, str]]) -> None:
    """Make what a tree says; what cannot be made is left out."""
    for number, (name, kind) in enumerate(tree):
        path = Path(f"{root}/{name}")
        try:
            if not Path(os.path.normpath(path)).is_relative_to(root) or os.path.lexists(path):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind in {"image", "text", "empty"}:
                path.write_bytes({"image": IMAGES[number % len(IMAGES)], "text": b"text", "empty": b""}[kind])
            elif kind == "folder":
                path.mkdir()
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "socket":
                with socket.socket(socket.AF_UNIX) as end:
                    end.bind(str(path))
            else:
                path.symlink_to({"loop": path.name, "broken": "nowhere", "zero": "/dev/zero", "up": ".."}[kind])
        except (OSError, ValueError):
            pass


@pytest.mark.timeout(120)
@fuzz(150, tree=trees(), layout=st.sampled_from(["folder", "folder", "mvtec", "btad"]))
@example([("c/train/good/1.png", "image"), ("c/train/good/2.png", "zero"), ("c/test/good/1.png", "image")], "mvtec")
@example([("c/good/1.png", "image"), ("c/good/2.png", "pipe"), ("c/good/3.png", "socket")], "folder")
def test_any_folder_is_a_split_or_one_line(tmp_path_factory, tree, layout):
    root = tmp_path_factory.mktemp("tree", numbered=True)
    grow(root, tree)
    found = answer(resolve, root, layout, "c")
    if found is not None:
        split = found[0]
        assert split.train
        assert split.test
        names = [sample.path for sample in (*split.train, *split.test)]
        assert len(set(names)) == len(names)
        assert all((split.root / name).is_file() for name in names)
    shutil.rmtree(root)
