"""Stores of schema 1 and 2: read as they are, and rewritten by scripts/upgrade.py without loss at any interruption."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from harness.config.settings import run_key
from harness.errors import StoreError
from harness.store import Store, load_frame
from harness.store.fields import old_run_path
from harness.store.files import write_atomically
from harness.store.record import digest_of
from harness.store.scores import examples_bytes
from scripts.upgrade import main as upgrade
from tests.store.making import make_ok, make_scores

FIXTURES = Path(__file__).parent / "fixtures"
MAPS = {"maps": np.ones((2, 4, 4), np.float32)}


def old_scores() -> bytes:
    """The scores of the fixtures, as a store of schema 1 and 2 has them."""
    rows = list(csv.reader(io.StringIO(make_scores().to_csv().decode())))
    return "".join(f"{path},{label},{score}\n" for path, label, _, score in rows).encode()


def put(store: Path, version=2, **changes) -> Path:
    """Write an old run; changes are of its spec, of `metrics` of the settings of the metrics."""
    data = json.loads((FIXTURES / f"record_v{version}.json").read_text())
    del data["digest"]
    data["spec"]["metrics"] |= changes.pop("metrics", {})
    data["spec"] |= changes
    data["key"] = run_key(data["spec"])
    folder = store / old_run_path(data["spec"], data["key"])
    folder.mkdir(parents=True)
    whole = data | {"digest": digest_of(data)}
    (folder / "record.json").write_text(json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    (folder / "scores.csv").write_bytes(old_scores())
    (folder / "examples.npz").write_bytes(examples_bytes(MAPS))
    return folder


def content(store: Path) -> dict[str, bytes]:
    """Every file but runs.csv and the lock."""
    files = (path for path in store.rglob("*") if path.is_file() and path.name not in ("runs.csv", ".turn"))
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("version", [1, 2])
def test_old_bytes_become_new_ones(tmp_path, version, capsys):
    folder = put(tmp_path, version)
    assert (folder / "record.json").read_bytes() == (FIXTURES / f"record_v{version}.json").read_bytes()
    assert upgrade([str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("1 upgraded, 0 up to date before, 0 set aside, 0 left as they are\n")
    new = "runs/mini_btad/01/padim-efficientnet_lite0/seed42-"
    written = content(tmp_path)
    (record,) = Store(tmp_path).records().records
    assert written == {
        f"{new}{record.key}/record.json": (FIXTURES / f"record_v{version}_upgraded.json").read_bytes(),
        f"{new}{record.key}/scores.csv": make_scores().to_csv(),
        f"{new}{record.key}/examples.npz": examples_bytes(MAPS),
    }
    assert not folder.parent.exists()
    assert Store(tmp_path).records().problems == ()
    assert upgrade([str(tmp_path)]) == 0
    assert content(tmp_path) == written


@pytest.mark.parametrize("upgraded", [False, True])
def test_an_old_store_is_read_as_the_new_one(tmp_path, upgraded):
    put(tmp_path)
    if upgraded:
        upgrade([str(tmp_path)])
    store = Store(tmp_path)
    (record,) = store.records().records
    assert store.scores(record).to_csv() == make_scores().to_csv()
    np.testing.assert_array_equal(store.examples(record)["maps"], MAPS["maps"])
    assert load_frame(store)["key"].tolist() == [record.key]


def test_a_sweep_into_an_old_store_is_told_what_to_do(tmp_path):
    store = Store(tmp_path / "old store")
    store.check_writable()
    store.write(make_ok(), make_scores())
    store.check_writable()
    put(store.path)
    with pytest.raises(StoreError) as caught:
        store.check_writable()
    assert str(caught.value) == (
        f"store {store.path}: holds a run of an older harness; .venv/bin/python scripts/upgrade.py "
        f"'{store.path}' gives them their new keys and changes no number"
    )
    upgrade([str(store.path)])
    store.check_writable()


class _StoppedError(BaseException):
    """Not an error that anybody handles."""


def test_an_upgrade_can_be_stopped_before_any_step_and_started_again(tmp_path, monkeypatch):
    """Before every change of the file system: at each point the store still says the same, and the next run ends it."""
    whole = tmp_path / "whole"
    put(whole), put(whole, 1, seed=7), put(whole, metrics={"bootstrap_samples": 0})
    upgrade([str(whole)])
    expected = content(whole)
    assert [name.split("/")[0] for name in sorted(expected)] == ["runs"] * 6 + ["set_aside"] * 3
    steps, done = 0, False
    while not done:
        store = tmp_path / str(steps)
        put(store), put(store, 1, seed=7), put(store, metrics={"bootstrap_samples": 0})
        before = [record.values for record in Store(store).records().records]
        left = steps

        def stopping(real):
            def call(*arguments, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    raise _StoppedError
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("unlink", "rename", "rmdir"):
                patched.setattr(Path, name, stopping(getattr(Path, name)))
            patched.setattr("harness.store.upgrade.write_atomically", stopping(write_atomically))
            try:
                upgrade([str(store)])
                done = True
            except _StoppedError:
                pass
        found = Store(store).records()
        assert [record.values for record in found.records] == before
        assert all(len(Store(store).scores(record).paths) for record in found.records), steps
        assert upgrade([str(store)]) == 0
        assert content(store) == expected
        steps += 1
    assert steps > 15


def test_of_runs_that_differ_only_in_the_metrics_settings_the_one_with_most_keeps_the_place(tmp_path, capsys):
    better = put(tmp_path, metrics={"bootstrap_samples": 500})
    poorer = put(tmp_path, metrics={"bootstrap_samples": 0})
    data = json.loads((poorer / "record.json").read_text()) | {"intervals": {}}
    (poorer / "record.json").write_text(json.dumps(data | {"digest": digest_of(data)}))
    kept = content(poorer)
    for _ in range(2):
        (record,) = Store(tmp_path).records().records
        assert record.upgraded_from["key"] == better.name[-12:]
        upgrade([str(tmp_path)])
    aside = tmp_path / "set_aside" / poorer.relative_to(tmp_path)
    assert (
        f"{poorer}: differs from run {record.key} only in metrics.*; it is kept in {aside}\n" in capsys.readouterr().out
    )
    assert content(aside) == kept
    assert [one.intervals for one in Store(tmp_path / "set_aside").records().records] == [{}]
    assert Store(tmp_path).records().problems == ()


@pytest.mark.parametrize("damage", ["record", "scores", "no scores"])
def test_what_cannot_be_trusted_stays_as_it_is(tmp_path, capsys, damage):
    put(tmp_path, seed=1)
    folder = put(tmp_path, seed=2)
    path = folder / ("record.json" if damage == "record" else "scores.csv")
    path.unlink() if damage == "no scores" else path.write_bytes(path.read_bytes().replace(b"0.99", b"0.98") + b" ")
    before = content(folder)
    assert upgrade([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: ")
    assert out.endswith("1 upgraded, 0 up to date before, 0 set aside, 1 left as they are\n")
    assert content(folder) == before
    assert not any(word in out for word in ("delete", "remove"))


def test_a_folder_that_is_no_store_is_refused_in_one_line(tmp_path, capsys):
    assert upgrade([str(tmp_path)]) == 2
    assert f"{tmp_path / 'runs'}: no such folder; give the one that holds" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
