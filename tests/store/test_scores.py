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

from harness.errors import StoreError
from harness.store import scores as scores_module
from harness.store.files import is_formula, no_formula
from harness.store.scores import ScoreTable, examples_bytes, read_examples, read_scores, sha256_of
from tests.store.making import patient

# Everything a path may hold on Linux, and bytes that are no UTF-8 as Python shows them.
paths = st.sampled_from(["=1+1", "./x", "././x", "x./", "-x.png"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
).filter(lambda name: name[0] != "/")
undecodable = st.binary(min_size=1).map(lambda raw: "x/" + raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))


def read_back(table, folder):
    (folder / "scores.csv").write_bytes(table.to_csv())
    return read_scores(folder / "scores.csv")


@patient
@given(
    st.lists(
        st.tuples(
            paths | undecodable,
            st.integers(0, 1),
            paths | undecodable,
            st.floats(allow_nan=False, allow_infinity=False),
        )
    )
)
def test_every_score_and_name_comes_back(tmp_path_factory, rows):
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    table = ScoreTable(
        tuple(columns[0]), np.array(columns[1], int), tuple(columns[2]), np.array(columns[3], np.float64)
    )
    back = read_back(table, tmp_path_factory.getbasetemp())
    assert (back.paths, back.defect_types) == (table.paths, table.defect_types)
    assert back.labels.tolist() == list(columns[1])
    assert back.scores.tobytes() == table.scores.tobytes()  # signs of zeros too
    assert back.to_csv() == table.to_csv()


def test_what_the_file_looks_like(tmp_path):
    names, types = ("a/1.png", 'b, "c".png', "=cmd()"), ("good", "cut", "-cut")
    table = ScoreTable(names, np.array([0, 1, 1]), types, np.array([0.5, 0.1, 3], np.float32))
    assert table.to_csv().decode() == (
        "path,label,defect_type,score\na/1.png,0,good,0.5\n"
        '"b, ""c"".png",1,cut,0.10000000149011612\n./=cmd(),1,./-cut,3.0\n'
    )
    assert sha256_of(tmp_path / "scores.csv") is None
    read_back(table, tmp_path)
    assert sha256_of(tmp_path / "scores.csv") == table.sha256 == hashlib.sha256(table.to_csv()).hexdigest()


@pytest.mark.parametrize("name", ["a\rb", "a\r\nb", '"', ",", " x ", "é瓶", "\u2028"])
def test_other_readers_read_odd_names(name):
    text = ScoreTable((name, "z"), np.array([0, 1]), ("good", name), np.array([0.1, 0.2])).to_csv().decode()
    with_csv = list(csv.reader(io.StringIO(text, newline="")))
    assert with_csv == [["path", "label", "defect_type", "score"], [name, "0", "good", "0.1"], ["z", "1", name, "0.2"]]
    with_pandas = pd.read_csv(io.BytesIO(text.encode()))
    assert with_pandas["path"].tolist() == [name, "z"]
    assert with_pandas["score"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("paths", "labels", "scores", "complaint"),
    [
        (("a",), [0, 1], [0.5, 0.5], "their numbers differ"),
        (("a",), [0], [[0.5]], "their numbers differ"),
        (("a",), [2], [0.5], "^a label is neither 0 nor 1$"),
        (("a",), [0], [np.nan], "^a score is NaN or infinite$"),
        (("/data/a",), [0], [0.5], "absolute path"),
    ],
)
def test_what_is_no_table(paths, labels, scores, complaint):
    with pytest.raises(ValueError, match=complaint):
        ScoreTable(paths, np.array(labels), ("x",), np.array(scores))


@pytest.mark.parametrize(
    "content",
    [
        *("", "path,score,label\n", None),
        *(f"path,label,score\n{row}\n" for row in ("a,0", "a,0,nan", "a,3,1", '"a,0,1', "a,0,good,1")),
        *(f"path,label,defect_type,score\n{row}\n" for row in ("a,0,1", "a,0,good,nan", "a,3,x,1")),
    ],
)
def test_a_damaged_or_missing_file_is_one_line(tmp_path, content):
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreError, match=rf"^{path}: (is not a table of scores|cannot be read)[^\n]*run again"):
        read_scores(path)


def test_an_old_file_has_the_folders_as_defect_types(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("path,label,score\nbottle/test/good/0.png,0,1.5\nbottle/test/cut/1.png,1,2.5\n./=x.png,1,0.5\n")
    table = read_scores(path)
    assert table.paths == ("bottle/test/good/0.png", "bottle/test/cut/1.png", "=x.png")
    assert table.defect_types == ("good", "cut", "")
    assert table.scores.tolist() == [1.5, 2.5, 0.5]


def test_examples_round_trip(tmp_path):
    arrays = {"maps": np.random.default_rng(0).random((2, 8, 8), np.float32), "paths": np.array(["a/é.png", "b"])}
    data = examples_bytes(arrays)
    assert read_examples(tmp_path / "examples.npz") is None
    (tmp_path / "examples.npz").write_bytes(data)
    back = read_examples(tmp_path / "examples.npz")
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("maps.npy", "w") as file:
        for _ in range(260):
            file.write(bytes(2**20))
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, maps=np.array([{"an": "object"}], dtype=object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK", ""), (bomb(), "unpacks to more than"), (pickled(), "Object arrays cannot be loaded")],
)
def test_damaged_or_hostile_examples_are_one_line(tmp_path, content, what):
    path = tmp_path / "examples.npz"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"^{path}: cannot be read \([^\n]*{what}"):
        read_examples(path)


@pytest.mark.parametrize("read", [read_scores, read_examples])
def test_a_file_beyond_all_bounds_is_not_read(tmp_path, monkeypatch, read):
    monkeypatch.setattr(scores_module, "LARGEST", 1000)
    (tmp_path / "large").write_bytes(bytes(1001))
    with pytest.raises(StoreError, match="it has 1001 bytes, more than the allowed 1000"):
        read(tmp_path / "large")


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        (text, True)
        for text in ("=1", "+a", "-a", "@x", "\tx", "\rx", "\nx", " =1", "\u3000=1", "＝1", "－1a", "-", "+1e5")
    ]
    + [(text, False) for text in ("", "a", "Xa", "a=1", "-1", "+1.5", "-0.25", "1", " x", "'=1")],
)
def test_formulas_of_a_spreadsheet(text, formula):
    assert is_formula(text) == formula
    assert no_formula(text) == (f"'{text}" if formula else text)
