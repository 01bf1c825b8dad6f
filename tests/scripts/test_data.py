"""scripts/data.py as a person calls it: what it prints, and its exit statuses."""

from __future__ import annotations

import hashlib
import io
import os
import pty
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from types import MappingProxyType

import pytest

from harness.data import catalog, verify
from harness.data.catalog import CATALOG, Counts
from scripts.data import main
from tests.data.serving import fixed, give, hang, serving
from tests.drawing import draw_mvtec_category


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("DATA_ROOT", raising=False)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The catalog has one more dataset, `small`, and its archive's bytes come with it."""
    draw_mvtec_category(tmp_path / "drawn/bottle", n_train=3, n_good=2, n_bad=2, size=16)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        archive.add(tmp_path / "drawn", ".")
    data = packed.getvalue()
    mvtec = CATALOG["mvtec"]
    published = replace(mvtec.archive, sha256=hashlib.sha256(data).hexdigest())
    info = replace(mvtec, name="small", archive=published, categories={"bottle": Counts(3, 2, 2)})
    for module in (catalog, verify):
        monkeypatch.setattr(module, "CATALOG", MappingProxyType({"small": info, "mvtec": mvtec}))
    return data


def test_list_says_what_is_official_and_what_is_there(tmp_path, capsys, monkeypatch):
    assert main(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["dataset", "category", "train", "normal", "defective", "licence", "archive"]
    assert ["mvtec", "3629", "467", "1258", "CC", "BY-NC-SA", "4.0", "5.3", "GB"] in lines
    assert ["03", "1000", "400", "41"] in lines
    draw_mvtec_category(tmp_path / "mvtec/bottle", n_train=2, n_good=1, n_bad=1, size=16)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "2 training images, officially 209" in out
    assert "0 of 15 categories" in out
    assert out.count(" missing\n") == sum(len(info.categories) for info in CATALOG.values()) - 1
    assert "\x1b" not in out


def test_download_twice_and_verify(small, tmp_path, capsys):
    root = tmp_path / "data"
    with serving(give(small)) as served:
        arguments = ["download", "small", "--root", str(root), "--url", served.url]
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert f"small: complete ({root / 'small'})" in out
        assert "licence CC BY-NC-SA 4.0, https://creativecommons.org/licenses/by-nc-sa/4.0/" in out
        stages = ["downloading, ", "checking the archive's sha256", "unpacking, ", "verifying counts and masks"]
        assert [line[: len(stage)] for line, stage in zip(err.splitlines(), stages, strict=True)] == stages
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert "small: already complete, nothing to do" in out
        assert err == ""
        assert len(served.asked) == 1
    assert main(["verify", "small", "--root", str(root), "--decode"]) == 0
    assert capsys.readouterr().out == "small/bottle  ok  3 train, 2 normal and 2 defective test images, 2 masks\n"
    (root / "small/bottle/test/good/000.png").unlink()
    assert main(["verify", "small", "--root", str(root)]) == 1
    assert capsys.readouterr().out == "small/bottle  1 normal test images, officially 2\n"


def test_download_options(small, tmp_path, capsys):
    root = tmp_path / "data"
    with serving(give(small), path="/small.tar.xz") as served:
        arguments = ["download", "small", "--root", str(root), "--url", f"{served.url}?id=3", "--keep-archive"]
        assert main(arguments) == 0
        kept = root / "small.tar.xz"
        assert kept.read_bytes() == small
        assert sorted(os.listdir(root)) == ["small", "small.tar.xz"]
        shutil.rmtree(root / "small")
        assert main(arguments) == 2
        assert "small.tar.xz: already exists" in capsys.readouterr().err
    again = tmp_path / "again"
    assert main(["download", "small", "--root", str(again), "--archive", str(kept)]) == 0
    assert sorted(os.listdir(again)) == ["small"]
    assert kept.read_bytes() == small
    kept.write_bytes(small[:-1])
    assert main(["download", "small", "--root", str(tmp_path / "no"), "--archive", str(kept)]) == 1
    assert f"{kept}: is not the published archive" in capsys.readouterr().err


def test_a_failed_download_is_one_line_and_status_1(tmp_path, capsys):
    with serving(fixed(404)) as served:
        assert main(["download", "mvtec", "--root", str(tmp_path / "data"), "--url", served.url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {served.url}: the server answers 404")


def test_verify_of_a_dataset_with_one_category(tmp_path, capsys):
    draw_mvtec_category(tmp_path / "mvtec/bottle", n_train=2, n_good=1, n_bad=1, size=16)
    assert main(["verify", "mvtec", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert lines[:2] == [
        "mvtec/bottle      2 training images, officially 209; 1 normal test images, officially 20; "
        "1 defective test images, officially 63",
        "mvtec/cable       missing: there is no folder cable",
    ]
    assert main(["verify", "mvtec", "--root", str(tmp_path), "--category", "wood", "--category", "tile"]) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["mvtec/tile", "mvtec/wood"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["required: list|download|verify"]),
        (["fetch"], ["invalid choice: 'fetch'"]),
        (["list", "--rot", "x"], ["unrecognized arguments: --rot"]),
        (["download"], ["required: DATASET"]),
        (["download", "mvtek", "--root", "ROOT"], ["dataset mvtek: unknown; there are btad, mvtec, visa"]),
        (["download", "mvtec"], ["no DATA_ROOT", "--root PATH"]),
        (["download", "mvtec", "--root", __file__], ["cannot be written"]),
        (["verify", "mvtec"], ["no DATA_ROOT"]),
        (["verify", "mvtec", "--root", "ROOT"], ["mvtec: no such folder"]),
        (["verify", "visa", "--root", "ROOT", "--category", "bottle"], ["category=bottle: not a category of VisA"]),
        (["verify", "a\x1b[31mb\nc", "--root", "ROOT"], ["unknown"]),
        (["check", "ROOT"], ["no such folder"]),
        (["check", ".", "--white-level", "0"], ["--white-level 0.0: must be above 0"]),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(tmp_path, capsys, arguments, words):
    root = tmp_path / "data"
    assert main([str(root) if argument == "ROOT" else argument for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert all(word in err for word in words)
    assert not root.exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_download_says_so_and_can_go_on(project, tmp_path, number, status):
    data = bytes(range(256)) * 4000
    with serving(give(data, cut=500_000, then=hang)) as served:
        process = subprocess.Popen(
            [sys.executable, project / "scripts/data.py", "download", "visa", "--root", tmp_path, "--url", served.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        part = tmp_path / f".visa.incoming/{CATALOG['visa'].archive.sha256}.part"
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size == 500_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (status, ""), err
    assert err.splitlines()[-1].startswith(("interrupted: ", "terminated"))
    assert part.read_bytes() == data[:500_000]
    assert not (tmp_path / "visa").exists()


def test_a_progress_bar_on_a_terminal(project, tmp_path):
    shown = []

    def read(descriptor: int) -> bytes:
        shown.append(os.read(descriptor, 65536))
        return shown[-1]

    with serving(give(b"x" * 300_000)) as served:
        command = ["download", "visa", "--root", str(tmp_path), "--url", served.url]
        assert pty.spawn([sys.executable, str(project / "scripts/data.py"), *command], read) == 1 << 8
    text = b"".join(shown).decode()
    assert "100%" in text
    assert "is not the published archive" in text
