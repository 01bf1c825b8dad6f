"""Whatever an archive is: only plain files, within the limit and below its folder, or one line."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st

from harness.data import archive as archive_module
from harness.data.archive import ArchiveError, unpack
from tests.data.test_archive import PACKERS, member
from tests.fuzz.strategies import HOSTILE, damaged, texts
from tests.fuzz.target import answer, fuzz

KINDS = [tarfile.REGTYPE] * 4 + [
    *(tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE),
    *(tarfile.AREGTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"Z"),
]
NAMES = ["a", "a/b", "A", "a/../b", "./a", "a//b", "into", "../x", "../../x", "/tmp/x"]
names = st.one_of(st.sampled_from([*NAMES, *HOSTILE]), texts).filter(lambda name: "\0" not in name)


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """Members of any name, kind, target and declared size."""
    buffer = io.BytesIO()
    for _ in range(draw(st.integers(0, 5))):
        data = draw(st.binary(max_size=20))
        size = len(data) + draw(st.sampled_from([0, 0, 0, 1, 10**6, 2**33]))
        info, _ = member(draw(names), draw(st.sampled_from(KINDS)), linkname=draw(names), size=size)
        with suppress(ValueError, UnicodeError):
            buffer.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512))
    return buffer.getvalue() + bytes(1024)


def packed(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return PACKERS[name](Path(folder) / "x").read_bytes()


@fuzz(100, content=tars() | damaged(*map(packed, PACKERS)))
def test_whatever_the_archive_only_plain_files_within_the_limit_appear_below_the_folder(tmp_path_factory, content):
    around = tmp_path_factory.getbasetemp() / "around"
    shutil.rmtree(around, ignore_errors=True)
    into = around / "into"
    into.mkdir(parents=True)
    (around / "x").write_bytes(content)
    with pytest.MonkeyPatch.context() as patched, suppress(OSError):  # `download` makes a line of the disk's refusal
        patched.setattr(archive_module, "MAX_BYTES", 400_000)
        answer(unpack, around / "x", into, refusals=(ArchiveError,), mebibytes=64)
    assert sorted(os.listdir(around)) == ["into", "x"]
    written = list(into.rglob("*"))
    assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in written)
    assert sum(path.stat().st_size for path in written if path.is_file()) <= 400_000
