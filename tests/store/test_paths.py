"""Folder names: readable, inside the store, and never shared by two runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.store import Store
from harness.store.fields import component, key_of_folder, run_path
from tests.store.making import make_spec, patient

HOSTILE = [
    *(
        "..",
        ".",
        "/",
        "a/b",
        "/etc",
        "../../x",
        "C:\\x",
        "a:b",
        "*?",
        "$(rm)",
        "[bold]",
        "%2e%2e",
        "-rf",
        "~",
        ".hidden",
    ),
    *("a\0b", "\n", "\x1b[2J", "\u202e", "x.", "x ", " x", "", "é", "瓶", "a" * 300, "瓶" * 200, "CON", "nul.txt"),
]

names = st.text() | st.sampled_from(HOSTILE) | st.text("./\\~ab\0", min_size=1)


def test_the_contracts_path():
    spec = make_spec(category="01", seed=7)
    path = str(run_path(spec))
    assert path.startswith("runs/mvtec/01/resnet18/seed7-")
    assert key_of_folder(Path(path).name) is not None


@pytest.mark.parametrize(
    "name", ["bottle", "01", "1_0", "1e3", "metal_nut", "my part", "v1.2", "pcb-1", "wide_resnet50_2"]
)
def test_plain_names_stay(name):
    assert component(name) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_plain_folders(name, tmp_path):
    folder = component(name)
    assert folder != name
    assert len(folder.encode()) < 100
    (tmp_path / folder).mkdir()
    assert os.listdir(tmp_path) == [folder]


def test_a_name_stays_readable():
    assert component("schräge Flasche/links").startswith("schrage_Flasche_links~")
    assert component("瓶").startswith("name~")


@patient
@given(names, names, names)
def test_any_name_stays_inside_the_store(dataset, category, backbone):
    store = Store("somewhere/store")
    folder = store.run_folder(make_spec(dataset=dataset, category=category, backbone=backbone))
    inside = folder.relative_to(store.path)
    assert len(inside.parts) == 5
    assert inside.parts[0] == "runs"
    assert not {"..", "."} & set(inside.parts)
    assert os.path.normpath(folder) == str(folder)
    assert str(folder).isascii()
    assert str(folder).isprintable()


@patient
@given(names, names)
def test_two_names_never_share_a_folder(one, other):
    if one != other:
        assert component(one) != component(other)


@patient
@given(names, names, st.integers(0, 99), st.integers(0, 99))
def test_two_specs_never_share_a_folder(one, other, seed, other_seed):
    specs = [make_spec(category=one, seed=seed), make_spec(category=other, seed=other_seed)]
    folders = [str(run_path(spec)).casefold() for spec in specs]  # as on a file system that ignores case
    assert (folders[0] == folders[1]) == (specs[0] == specs[1])


@patient
@given(names)
def test_a_plain_name_is_never_what_a_hostile_one_becomes(name):
    assert component(component(name)) == component(name) if component(name) == name else component(name) != name


@pytest.mark.parametrize(
    "change",
    [{"seed": 43}, {"n_features": 99}, {"epsilon": 0.01001}, {"fingerprint": "00" * 32}, {"engine": "reference"}],
)
def test_whatever_moves_a_number_moves_the_folder(change):
    assert run_path(make_spec(**change)) != run_path(make_spec())


def test_a_name_that_is_no_unicode_is_refused_in_one_line():
    with pytest.raises(StoreError, match=r"^mvtec/caf\\udce9/resnet18: a name is not valid UTF-8; rename the folder"):
        run_path(make_spec(category="caf\udce9"))


@pytest.mark.parametrize(
    "name", ["seed42", "seed42-xyz", "seed-0123456789ab", "42-0123456789ab", "seed1-0123456789abc", "x"]
)
def test_other_folders_are_no_runs(name):
    assert key_of_folder(name) is None
    assert key_of_folder("seed42-0123456789ab") == "0123456789ab"


@pytest.mark.parametrize(
    ("name", "readable"),
    [("--é_-", "e"), ("Xé", "Xe"), ("é" * 70, "e" * 60), ("a\udce9", "a"), ("é-é", "e-e"), ("a é//b", "a_e_b")],
)
def test_what_is_left_of_a_name_and_eight_digits_of_all_of_it(name, readable):
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    assert component(name) == f"{readable}~{digits[:8]}"
