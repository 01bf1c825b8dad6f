"""Folders of images, and VisA's 1cls.csv: a split whose files lie where it says, or one line."""

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
from tests.fuzz.strategies import HOSTILE, damaged, texts
from tests.fuzz.target import answer, fuzz

PARTS = ("train", "test", "ground_truth", "masks", "good", "normal", "ok", "ko", "bad", "Good", "c", "a.png", *HOSTILE)
KINDS = (*["image"] * 4, "text", "empty", "folder", "pipe", "socket", "loop", "broken", "zero", "up")
USUAL = [
    [(f"c/{name}.png", "image") for name in names]
    for names in (
        ("train/good/a", "test/good/a", "test/bad/1", "ground_truth/bad/1_mask"),
        ("train/ok/a", "test/ok/a", "test/ko/1", "ground_truth/ko/1"),
        ("good/a", "good/b", "bad/1"),
        (),
    )
]
FOLDERS = ("train/good", "test/good", "test/bad", "ground_truth/bad", "good", "bad", "masks/bad")
LEAVES = ["1.png", "2.PNG", "1_mask.png", "x.jpg", "y.bmp", "\udcff.png", "a\nb.png", "=1.png"]

parts = st.sampled_from(PARTS)
paths = st.builds(
    "{}/{}".format,
    st.sampled_from(FOLDERS).map("c/{}".format) | st.lists(parts, max_size=4).map("/".join),
    st.sampled_from(LEAVES) | parts,
)
trees = st.builds(
    lambda usual, odd: [*usual, *odd],
    st.sampled_from(USUAL),
    st.lists(st.tuples(paths, st.sampled_from(KINDS)), max_size=6),
)
"""Paths below the root, and what lies there; usual folders with a few oddities in them."""

HEADER = "object,split,label,image,mask\n"
GOOD = f"{HEADER}c,train,normal,c/train/good/a.png,\nc,test,normal,c/test/good/a.png,\n"
named = texts | paths | st.sampled_from(["../x/c/test/bad/1.png", "/etc/passwd", "c", ".", "c/test/bad/1.png"])
rows = st.tuples(
    st.sampled_from(["c", "other"]),
    st.sampled_from(["train", "test", "val"]),
    st.sampled_from(["normal", "anomaly", ""]),
    named,
    named | st.just(""),
).map(",".join)
tables = st.builds(
    lambda usual, odd: (usual + "\n".join([*odd, ""])).encode("utf-8", "replace"),
    st.sampled_from([HEADER, GOOD, GOOD, GOOD]),
    st.lists(rows, max_size=2),
) | damaged(GOOD.encode())


def encoded(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def grow(root: Path, tree: list[tuple[str, str]]) -> None:
    """Make what a tree says; what cannot be made is left out."""
    for number, (name, kind) in enumerate(tree):
        path = Path(f"{root}/{name}")
        try:
            if not Path(os.path.normpath(path)).is_relative_to(root) or os.path.lexists(path):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind in {"image", "text", "empty"}:
                path.write_bytes({"image": encoded(number % 5), "text": b"text", "empty": b""}[kind])
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


def resolve(root: Path, layout: str):
    """The split, and its fingerprint, which opens every file."""
    split = resolve_split(request(root, layout), "c")
    return split, fingerprint(split)


def visa(row: str) -> tuple[list[tuple[str, str]], bytes, str]:
    return [*USUAL[0], ("pipe.png", "pipe"), ("zero.png", "zero")], f"{GOOD}{row}\n".encode(), "visa"


@pytest.mark.timeout(120)
@fuzz(100, tree=trees, table=tables, layout=st.sampled_from(["folder", "folder", "mvtec", "btad", "visa", "visa"]))
@example([*USUAL[0], ("c/train/good/2.png", "zero")], b"", "mvtec")
@example([*USUAL[2], ("c/good/2.png", "pipe"), ("c/good/3.png", "socket")], b"", "folder")
@example(*visa("c,test,normal,pipe.png,"))
@example(*visa("c,train,normal,zero.png,"))
@example(*visa("c,train,normal,a\x00b.png,"))
@example(*visa("c,test,anomaly,c/test/bad/1.png,c/\x00"))
@example(*visa("c,train,normal," + "a/" * 3000 + "x.png,"))
@example(*visa("a" * 140_000 + ",,,,"))
@example(*visa("x,y,z,1,2,3,4,5"))
def test_any_folder_is_a_split_or_one_line(tmp_path_factory, tree, table, layout):
    root = tmp_path_factory.mktemp("tree", numbered=True)
    grow(root, tree)
    if layout == "visa":
        (root / VISA_SPLIT).parent.mkdir(exist_ok=True)
        (root / VISA_SPLIT).write_bytes(table)
    found = answer(resolve, root, layout)
    if found is not None:
        split = found[0]
        assert split.train
        assert split.test
        samples = [*split.train, *split.test]
        assert len({sample.path for sample in samples}) == len(samples)
        for name in (name for sample in samples for name in (sample.path, sample.mask) if name):
            assert (split.root / name).is_file()
            assert ".." not in PurePosixPath(name).parts
    shutil.rmtree(root)
