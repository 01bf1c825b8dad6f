"""scripts/data.py as a person calls it: what it prints, and its exit statuses."""

from __future__ import annotations

import hashlib
import io
import os
import pty
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.data import catalog, listing
from harness.data.catalog import MVTEC, VISA, Counts
from tests.data.serving import fixed, give, hang, serving
from tests.drawing import draw_mvtec_category


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("DATA_ROOT", raising=False)


def call(project: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(project / "scripts/data.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert all(word in last for word in words), last
    assert done.stdout == ""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The catalog has one more dataset, `small`, and its archive's bytes come with it; main() runs in this process."""
    draw_mvtec_category(tmp_path / "drawn/bottle", n_train=3, n_good=2, n_bad=2, size=16)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        archive.add(tmp_path / "drawn", ".")
    data = packed.getvalue()
    published = replace(MVTEC.archive, sha256=hashlib.sha256(data).hexdigest())
    info = replace(MVTEC, name="small", archive=published, categories={"bottle": Counts(3, 2, 2)})
    for module in (catalog, listing):
        monkeypatch.setattr(module, "CATALOG", MappingProxyType({"small": info, "mvtec": MVTEC}))
    handler = signal.getsignal(signal.SIGTERM)
    yield data
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def main(project):
    return runpy.run_path(str(project / "scripts/data.py"))["main"]


def test_list(project):
    done = call(project, "list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["dataset", "category", "train", "normal", "defective", "licence", "archive"]
    assert ["mvtec", "3629", "467", "1258", "CC", "BY-NC-SA", "4.0", "5.3", "GB"] in lines
    assert ["candle", "900", "100", "100"] in lines
    assert ["03", "1000", "400", "41"] in lines
    assert "\x1b" not in done.stdout


def test_list_says_what_is_there(project, tmp_path):
    draw_mvtec_category(tmp_path / "mvtec/bottle", n_train=2, n_good=1, n_bad=1, size=16)
    for done in (call(project, "list", "--root", tmp_path), call(project, "list", DATA_ROOT=str(tmp_path))):
        assert (done.returncode, done.stderr) == (0, "")
        assert "2 training images, officially 209" in done.stdout
        assert "0 of 15 categories" in done.stdout
        n_missing = sum(len(info.categories) for info in catalog.CATALOG.values()) - 1
        assert done.stdout.count(" missing ") == n_missing


def test_list_on_a_terminal(project):
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, str(project / "scripts/data.py"), "list"],
        stdout=follower,
        stderr=subprocess.PIPE,
        check=False,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(follower)
    shown = b""
    try:
        while block := os.read(leader, 65536):
            shown += block
    except OSError:  # the other end is closed
        pass
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b[1m" in shown
    assert "hazelnut" in shown.decode()


def test_download_twice_and_verify(main, small, tmp_path, capsys):
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
    assert capsys.readouterr().out == ("small/bottle  ok  3 train, 2 normal and 2 defective test images, 2 masks\n")
    (root / "small/bottle/test/good/000.png").unlink()
    assert main(["verify", "small", "--root", str(root)]) == 1
    assert capsys.readouterr().out == "small/bottle  1 normal test images, officially 2\n"
    assert main(["list", "--root", str(root)]) == 0
    assert "1 normal test images, officially 2" in capsys.readouterr().out


def test_download_options(main, small, tmp_path, capsys):
    root = tmp_path / "data"
    with serving(give(small), path="/small.tar.xz") as served:
        arguments = ["download", "small", "--root", str(root), "--url", f"{served.url}?id=3", "--keep-archive"]
        assert main(arguments) == 0
        kept = root / "small.tar.xz"
        assert kept.read_bytes() == small
        assert sorted(os.listdir(root)) == ["small", "small.tar.xz"]
        shutil.rmtree(root / "small")
        assert main(arguments) == 2
        assert "small.tar.xz: is there already" in capsys.readouterr().err
    again = tmp_path / "again"
    assert main(["download", "small", "--root", str(again), "--archive", str(kept)]) == 0
    assert sorted(os.listdir(again)) == ["small"]
    assert main(["download", "small", "--root", str(tmp_path / "x"), "--archive", str(kept), "--sha256", "0" * 64]) == 1
    assert "is not the published archive" in capsys.readouterr().err


def test_a_failed_download_is_one_line_and_status_1(project, tmp_path):
    root = tmp_path / "data"
    with serving(fixed(404)) as served:
        done = call(project, "download", "mvtec", "--root", root, "--url", served.url)
    refused(done, 1, "404", served.url, "--archive")
    with serving(give(b"not what was published")) as served:
        refused(call(project, "download", "btad", "--root", root, "--url", served.url), 1, "not the published archive")
    assert os.listdir(root) == []


def test_verify_of_a_dataset_with_one_category(project, tmp_path):
    draw_mvtec_category(tmp_path / "mvtec/bottle", n_train=2, n_good=1, n_bad=1, size=16)
    done = call(project, "verify", "mvtec", "--root", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 15
    assert lines[0] == (
        "mvtec/bottle      2 training images, officially 209; 1 normal test images, officially 20; "
        "1 defective test images, officially 63"
    )
    assert lines[1] == "mvtec/cable       missing: there is no folder cable"
    done = call(project, "verify", "mvtec", "--root", tmp_path, "--category", "wood", "--category", "tile")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["mvtec/tile", "mvtec/wood"]


@pytest.mark.real
def test_verify_of_the_real_bottle(project, real_mvtec):
    done = call(project, "verify", "mvtec", "--root", real_mvtec.parent, "--category", "bottle")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "mvtec/bottle      ok  209 train, 20 normal and 63 defective test images, 63 masks\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["required: list|download|verify"]),
        (["fetch"], ["invalid choice: 'fetch'"]),
        (["list", "--rot", "x"], ["unrecognized arguments: --rot"]),
        (["download"], ["required: DATASET"]),
        (["download", "mvtek", "--root", "ROOT"], ["dataset mvtek: unknown; there are mvtec, visa, btad"]),
        (["download", "mvtec"], ["no DATA_ROOT", "--root PATH"]),
        (["download", "mvtec", "--root", "ROOT", "--url", "file:///etc/passwd"], ["file:///etc/passwd", "http://"]),
        (["download", "mvtec", "--root", "ROOT", "--sha256", "12"], ["64 hexadecimal digits"]),
        (["download", "mvtec", "--root", "ROOT", "--archive", "none.tar"], ["none.tar: no such file"]),
        (["download", "mvtec", "--root", __file__], ["cannot be written"]),
        (["verify", "mvtec"], ["no DATA_ROOT"]),
        (["verify", "mvtec", "--root", "ROOT"], ["mvtec: no such folder"]),
        (["verify", "visa", "--root", "ROOT", "--category", "bottle"], ["category=bottle: not a category of VisA"]),
        (["verify", "a\x1b[31mb\nc", "--root", "ROOT"], ["unknown"]),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(main, tmp_path, capsys, arguments, words):
    root = tmp_path / "data"
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert main([str(root) if argument == "ROOT" else argument for argument in arguments]) == 2
    finally:
        signal.signal(signal.SIGTERM, handler)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert all(word in err for word in words)
    assert not root.exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_download_says_so_and_goes_on_later(project, tmp_path, number, status):
    data = bytes(range(256)) * 4000
    with serving(give(data, cut=500_000, then=hang)) as served:
        process = subprocess.Popen(
            [sys.executable, project / "scripts/data.py", "download", "visa", "--root", tmp_path, "--url", served.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        part = tmp_path / f".visa.incoming/{VISA.archive.sha256}.part"
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 400_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == status, err
    assert out == ""
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert err.splitlines()[-1].startswith("interrupted: ")
    assert part.read_bytes() == data[:500_000]
    assert not (tmp_path / "visa").exists()


def test_a_progress_bar_on_a_terminal(project, tmp_path):
    leader, follower = pty.openpty()
    with serving(give(b"x" * 300_000)) as served:
        done = subprocess.run(
            [sys.executable, project / "scripts/data.py", "download", "visa", "--root", tmp_path, "--url", served.url],
            stdout=subprocess.PIPE,
            stderr=follower,
            check=False,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
        )
    os.close(follower)
    shown = b""
    try:
        while block := os.read(leader, 65536):
            shown += block
    except OSError:  # the other end is closed
        pass
    assert done.returncode == 1
    text = shown.decode()
    assert "downloading" in text
    assert "300.0/300.0 kB" in text
    assert "is not the published archive" in text


def test_help_and_refusals_load_nothing_heavy(project):
    code = f"""
import runpy, sys
sys.argv = ["data.py", "list"]
try:
    runpy.run_path({str(project / "scripts/data.py")!r}, run_name="__main__")
except SystemExit as stop:
    assert stop.code == 0
print([name for name in ("torch", "pandas", "pydantic", "anomalib", "hydra") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    shown = call(project, "download", "--help")
    assert shown.returncode == 0
    assert "--keep-archive" in shown.stdout


def test_a_closed_pipe(project):
    command = f"{sys.executable} {project / 'scripts/data.py'} list | true"
    assert subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stderr == ""
