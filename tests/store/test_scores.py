"""scores.csv holds every digit and every odd name; examples.npz the same bytes for the same arrays."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import StoreError
from harness.store import scores as scores_module
from harness.store.scores import ScoreTable, examples_bytes, read_examples, read_scores, sha256_of
from tests.store.making import make_scores, patient

# Everything a path may hold on Linux, and bytes that are no UTF-8 as Python shows them.
paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map("x/".__add__)
undecodable = st.binary(min_size=1).map(lambda raw: "x/" + raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))


def read_back(table, folder):
    (folder / "scores.csv").write_bytes(table.to_csv())
    return read_scores(folder / "scores.csv")


@patient
@given(st.lists(st.tuples(paths | undecodable, st.integers(0, 1), st.floats(allow_nan=False, allow_infinity=False))))
def test_round_trip_of_float64(tmp_path_factory, rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = ScoreTable(tuple(columns[0]), np.array(columns[1], int), np.array(columns[2], np.float64))
    back = read_back(table, tmp_path_factory.getbasetemp())
    assert back.paths == table.paths
    assert back.labels.tolist() == list(columns[1])
    assert back.scores.tobytes() == table.scores.tobytes()  # signs of zeros too
    assert back.to_csv() == table.to_csv()


@patient
@given(hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_round_trip_of_float32(tmp_path_factory, scores):
    table = ScoreTable(tuple(map(str, range(len(scores)))), np.zeros(len(scores)), scores)
    back = read_back(table, tmp_path_factory.getbasetemp())
    assert back.scores.dtype == np.float64
    assert back.scores.tobytes() == scores.astype(np.float64).tobytes()
    assert back.scores.astype(np.float32).tobytes() == scores.tobytes()


def test_what_the_file_looks_like():
    table = ScoreTable(("a/1.png", 'b, "c".png', "=cmd()"), np.array([0, 1, 1]), np.array([0.5, 0.1, 3], np.float32))
    assert table.to_csv().decode() == (
        'path,label,score\na/1.png,0,0.5\n"b, ""c"".png",1,0.10000000149011612\n./=cmd(),1,3.0\n'
    )


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\r\nb", '"', ",", " x ", "é瓶", "\u2028", "a;b", "\ufeff"])
def test_other_readers_read_odd_names(name):
    text = ScoreTable((name, "z"), np.array([0, 1]), np.array([0.1, 0.2])).to_csv().decode()
    with_csv = list(csv.reader(io.StringIO(text, newline="")))
    assert with_csv == [["path", "label", "score"], [name, "0", "0.1"], ["z", "1", "0.2"]]
    with_pandas = pd.read_csv(io.BytesIO(text.encode()))
    assert with_pandas["path"].tolist() == [name, "z"]
    assert with_pandas["score"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("paths", "labels", "scores", "complaint"),
    [
        (("a",), [0, 1], [0.5, 0.5], "not one each"),
        (("a",), [0], [[0.5]], "not one each"),
        (("a",), [2], [0.5], "^a label is neither 0 nor 1$"),
        (("a",), [0], [np.nan], "^a score is NaN or infinite$"),
        (("a",), [0], [np.inf], "infinite"),
        (("/data/a",), [0], [0.5], "absolute path"),
    ],
)
def test_what_is_no_table(paths, labels, scores, complaint):
    with pytest.raises(ValueError, match=complaint):
        ScoreTable(paths, np.array(labels), np.array(scores))


@pytest.mark.parametrize(
    "content",
    ["", "path,label\n", "path,label,score\na,0\n", "path,label,score\na,0,x\n", "path,label,score\na,0,nan\n",
     "path,label,score\na,0.0,1\n", 'path,label,score\n"a,0,1\n', "path,label,score\na,3,1\n"],
)  # fmt: skip
def test_a_damaged_file_is_one_line(tmp_path, content):
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(StoreError) as caught:
        read_scores(path)
    assert str(caught.value).startswith(f"{path}: is no ")
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(StoreError, match=r"cannot be read \(No such file or directory\); run again"):
        read_scores(tmp_path / "scores.csv")
    assert sha256_of(tmp_path / "scores.csv") is None


def test_sha256_is_the_files(tmp_path):
    table = make_scores()
    read_back(table, tmp_path)
    expected = hashlib.sha256((tmp_path / "scores.csv").read_bytes()).hexdigest()
    assert sha256_of(tmp_path / "scores.csv") == table.sha256 == expected


def test_examples_round_trip(tmp_path):
    arrays = {"maps": np.random.default_rng(0).random((2, 8, 8), np.float32), "paths": np.array(["a/é.png", "b"])}
    data = examples_bytes(arrays)
    assert data == examples_bytes(dict(reversed(arrays.items())))
    (tmp_path / "examples.npz").write_bytes(data)
    back = read_examples(tmp_path / "examples.npz")
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


@pytest.mark.parametrize(
    "arrays",
    [{"x": np.array([{}])}, {"../x": np.zeros(1)}, {"": np.zeros(1)}, {"é": np.zeros(1)}, {"a/b": np.zeros(1)}],
)
def test_examples_are_plain_arrays(arrays):
    with pytest.raises(ValueError, match="needs a plain name and an array"):
        examples_bytes(arrays)


def test_damaged_or_missing_examples(tmp_path):
    path = tmp_path / "examples.npz"
    assert read_examples(path) is None
    whole = examples_bytes({"maps": np.zeros((4, 4))})
    for content in (b"", b"PK", whole[: len(whole) // 2], b"\x80\x04."):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="delete it and run again"):
            read_examples(path)


def test_another_first_line_is_named(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("path,score,label\n")
    with pytest.raises(
        StoreError, match=r"is no table of scores \(its first line is not path,label,score\); restore it"
    ):
        read_scores(path)


def test_text_behind_a_closed_quote_is_no_csv(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text('path,label,score\n"a"b,0,1\n')
    with pytest.raises(StoreError, match="is no CSV"):
        read_scores(path)


def test_scores_are_float64_and_labels_int64():
    table = ScoreTable(("a", "b"), np.array([0, 1], np.uint8), np.array([0.1, 0.2], np.float32))
    assert (table.labels.dtype, table.scores.dtype) == (np.int64, np.float64)
    assert table.scores.tolist() == [float(np.float32(0.1)), float(np.float32(0.2))]


@pytest.mark.parametrize("path", ["=1+1", "./x", "././x", "x./", "-x.png"])
def test_a_path_with_an_odd_beginning_comes_back_as_it_was(tmp_path, path):
    table = ScoreTable((path,), np.array([0]), np.array([1.0]))
    assert read_back(table, tmp_path).paths == (path,)


def test_examples_that_would_run_code_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "examples.npz", maps=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(StoreError, match="Object arrays cannot be loaded"):
        read_examples(tmp_path / "examples.npz")


def test_examples_may_be_as_large_as_the_limit_and_no_larger(tmp_path, monkeypatch):
    path = tmp_path / "examples.npz"
    path.write_bytes(examples_bytes({"maps": np.zeros((64, 64))}))
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
    assert member.file_size > 10 * path.stat().st_size, "it is compressed"
    monkeypatch.setattr(scores_module, "LARGEST", member.file_size)
    assert read_examples(path)["maps"].shape == (64, 64)
    monkeypatch.setattr(scores_module, "LARGEST", member.file_size - 1)
    with pytest.raises(StoreError, match="unpacks to more than"):
        read_examples(path)


def test_examples_that_cannot_be_read_say_why(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"folder: cannot be read \(Is a directory\); delete it"):
        read_examples(tmp_path / "folder")

    def refuse(*_, **__):
        raise EOFError

    path = tmp_path / "examples.npz"
    path.write_bytes(examples_bytes({"maps": np.zeros(1)}))
    monkeypatch.setattr(scores_module.np, "load", refuse)
    with pytest.raises(StoreError, match=r"cannot be read \(EOFError\); delete it"):
        read_examples(path)
