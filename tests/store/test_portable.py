"""Absolute paths are found and hidden; what only looks like one is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store.portable import has_absolute_path, hide_paths, is_absolute
from tests.store.making import patient


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("/data/mvtec", "<path>/mvtec"),
        ("cannot read /data/x.png: truncated", "cannot read <path>/x.png: truncated"),
        ("error:/data/x.png", "error:<path>/x.png"),
        ("[Errno 2] No such file: '/my data/x y.png'", "[Errno 2] No such file: '<path>/x y.png'"),
        ('File "/usr/lib/python3.11/os.py", line 3', 'File "<path>/os.py", line 3'),
        ("PosixPath('/a')", "PosixPath('<path>/a')"),
        (r"C:\Users\me\x.png is gone", "<path>/x.png is gone"),
        (r"\\server\share\x.png", "<path>/x.png"),
        ("file:///data/x.png", "<path>/x.png"),
        ("--root=/data/", "--root=<path>/data"),
        ("(/data/a, /data/b)", "(<path>/a, <path>/b)"),
        ("/données/é.png", "<path>/é.png"),
    ],
)
def test_absolute_paths_are_hidden(text, hidden):
    assert has_absolute_path(text)
    assert hide_paths(text, {}) == hidden
    assert not has_absolute_path(hidden)


@pytest.mark.parametrize(
    "text",
    [
        "bottle/test/good/000.png",
        "../shared/data",
        "./x",
        "AUROC/F1 and 3/4",
        "n / a",
        "use '/' or '.'",
        "CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/)",
        "<dataset.root>/bottle/x.png",
        "<path>/x.png",
        "50 images/s",
        "Intel(R) Xeon(R) CPU @ 2.20GHz",
        "",
    ],
)
def test_what_is_no_absolute_path_stays(text):
    assert not has_absolute_path(text)
    assert hide_paths(text, {}) == text


def test_known_folders_get_their_label_and_the_longest_wins():
    roots = {"store": Path("/data"), "dataset.root": Path("/data/mv tec"), "weights": Path("/w/r.pth")}
    text = "/data/mv tec/bottle/x.png, /data/runs; /w/r.pth. /database/x /my/data/y '/data'"
    assert hide_paths(text, roots) == (
        "<dataset.root>/bottle/x.png, <store>/runs; <path>/r.pth. <path>/x <path>/y '<store>'"
    )


def test_a_relative_root_is_hidden_where_it_was_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hide_paths(f"{tmp_path}/data/x.png", {"dataset.root": Path("data")}) == "<dataset.root>/x.png"


def test_the_root_folder_is_no_label():
    assert hide_paths("/data/x.png and /", {"dataset.root": Path("/")}) == "<path>/x.png and /"


def test_whole_strings():
    assert all(map(is_absolute, ("/a", "/", "//a")))
    assert not any(map(is_absolute, ("a/b", "~a", "a", "", r"C:\x", "./a")))


@patient
@given(st.text())
def test_after_hiding_there_is_none_left(text):
    once = hide_paths(text, {"dataset.root": Path("/data")})
    assert not has_absolute_path(once)


@patient
@given(st.lists(st.text("ab/\\'\" :.C~<>(),;=-", min_size=1)).map("".join))
def test_after_hiding_there_is_none_left_in_hostile_text(text):
    assert not has_absolute_path(hide_paths(text, {"dataset.root": Path("/a/b")}))


@patient
@given(st.text(st.characters(codec="utf-8")) | st.text())
def test_hidden_text_is_unicode(text):
    hide_paths(text + "\udce9", {}).encode("utf-8")


def test_a_label_is_no_path_and_no_pattern():
    assert hide_paths("/data/x.png", {r"a\\1": Path("/data")}) == "<a//1>/x.png"
    assert hide_paths("/data/x.png", {r"a\1": Path("/data")}) == "<a/1>/x.png"


def test_a_working_folder_that_was_removed_is_no_obstacle(monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("os.getcwd", gone)
    assert hide_paths("data/x.png and /data/x.png", {"dataset.root": Path("data")}) == "data/x.png and <path>/x.png"


def test_a_root_of_one_letter_is_hidden():
    assert hide_paths("/d/x.png", {"dataset.root": Path("/d")}) == "<dataset.root>/x.png"
