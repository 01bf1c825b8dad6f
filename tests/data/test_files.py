import os
import subprocess
import sys

import pytest
from torchvision.datasets.folder import IMG_EXTENSIONS

from harness.data import files
from harness.data.files import Header, direct_images, list_images, read_header, subfolders
from harness.errors import DataError
from tests.data.small import save, save_header


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


def test_nothing_heavy_is_imported_to_resolve_a_split(project):
    code = (
        "import sys, harness.data.layouts, harness.data.fingerprint; "
        "print([m for m in ('torch', 'torchvision', 'anomalib', 'pandas', 'lightning', 'timm', 'pydantic') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project)
    assert run.stdout.strip() == "[]"
