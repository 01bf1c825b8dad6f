"""All records as one table, and runs.csv."""

from __future__ import annotations

import csv
import io
import random

import pandas as pd
import pytest

from harness.errors import StoreError
from harness.store import Interval, Store, load_frame, write_runs_csv
from harness.store.fields import METRICS
from harness.store.frame import COLUMNS
from harness.store.record import Timing
from tests.store.making import VALUES, make_failed, make_metrics, make_ok, make_scores, make_spec


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Store:
    """Three ok runs, two failed ones, and one file that is no record."""
    store = Store(tmp_path_factory.mktemp("mixed") / "results")
    for spec in (make_spec(), make_spec(seed=7), make_spec(dataset="btad", category="01", epsilon=0.01001)):
        store.write(make_ok(spec), make_scores())
    store.write(make_failed(make_spec(category="cable")))
    store.write(make_failed(make_spec(category="hazelnut", fingerprint=None)))
    damaged = store.run_folder(make_spec(seed=8))
    damaged.mkdir()
    (damaged / "record.json").write_text("{")
    return store


def test_one_row_a_record_sorted_by_what_was_run(mixed):
    table = load_frame(mixed)
    assert table[["dataset", "category", "seed"]].values.tolist() == [
        ["btad", "01", 42],
        ["mvtec", "bottle", 7],
        ["mvtec", "bottle", 42],
        ["mvtec", "cable", 42],
        ["mvtec", "hazelnut", 42],
    ]
    assert list(table.index) == list(range(5))


def test_values_are_the_records(mixed):
    row = load_frame(mixed).iloc[2]
    record = mixed.find(make_spec())
    assert {name: row[name] for name in METRICS} == VALUES
    assert (row["image_auroc_low"], row["image_auroc_high"]) == (VALUES["image_auroc"] / 2, 1.0)
    assert (row["key"], row["status"], row["protocol_name"]) == (record.key, "ok", "paper")
    assert (row["model.n_features"], row["model.epsilon"], row["model.index_sampler"]) == (100, 0.01, "anomalib_v1")
    assert (row["preprocessing.resize"], row["preprocessing.center_crop"]) == ("[256,256]", "[224,224]")
    assert (row["n_train"], row["n_test_normal"], row["n_test_anomalous"]) == (209, 20, 63)
    assert (row["seconds"], row["seconds_decode"], row["images_per_second"]) == (11.75, 5.5, 24.8)
    assert row["peak_rss_bytes"] == 1_500_000_000
    assert (row["git_commit"], row["git_dirty"]) == ("0123456789" * 4, False)
    assert row["finished"] == pd.Timestamp("2026-11-23T16:42:20Z")
    assert pd.isna(row["error"])


def test_a_failed_run_has_its_error_and_no_metrics(mixed):
    failed = load_frame(mixed).query("status == 'failed'")
    assert failed["error"].tolist() == ["DataError: bottle/x.png: is truncated"] * 2
    assert failed["error_stage"].tolist() == ["features"] * 2
    assert failed[list(METRICS)].isna().all(axis=None)
    assert failed["n_train"].isna().tolist() == [False, True]


@pytest.mark.parametrize("empty", [True, False])
def test_dtypes_do_not_depend_on_the_content(mixed, tmp_path, empty):
    table = load_frame(tmp_path / "nowhere" if empty else mixed)
    assert [name for name in table.columns if name in COLUMNS] == list(COLUMNS)
    for name, dtype in COLUMNS.items():
        assert table[name].dtype == pd.Series([], dtype=dtype).dtype, name
    assert len(table) == (0 if empty else 5)


def test_any_model_has_columns_of_its_own_settings_and_any_metric_of_its_values(tmp_path):
    other = {"name": "other", "layers": ["a", "b"], "ratio": 0.5, "fast": True, "n_features": None}
    spec = make_spec() | {"model": other}
    metrics = make_metrics({"image_zeta": 1.5, "pixel_auroc": 0.5}, version=3)
    store = Store(tmp_path)
    store.write(make_ok(spec, metrics=metrics, intervals={}), make_scores())
    table = load_frame(store)
    assert list(table.columns[:9]) == [
        *("dataset", "category", "model", "backbone", "seed"),
        *(f"model.{name}" for name in ("fast", "layers", "n_features", "ratio")),
    ]
    assert [name for name in table if name.startswith(("image_", "pixel_"))][:8] == [
        f"{metric}{suffix}" for metric in ("pixel_auroc", "image_zeta") for suffix in ("", "_low", "_high", "_version")
    ]
    assert table[["model.fast", "model.layers", "model.ratio"]].values.tolist() == [[True, "[a,b]", 0.5]]
    assert table[["image_zeta", "image_zeta_version"]].values.tolist() == [[1.5, 3]]
    store.write(make_ok(), make_scores())
    table = load_frame(store)
    assert (str(table["model.epsilon"].dtype), str(table["model.n_features"].dtype)) == ("float64", "Int64")
    assert table["model.epsilon"].isna().tolist() == [True, False]


def test_second_intervals_and_stages_get_columns_of_their_own(tmp_path):
    delong = Interval(low=0.25, high=0.75, method="DeLong")
    first = make_ok(intervals={"image_auroc_delong": delong}, timing=Timing(seconds={"z": 1.0}, images_per_second=None))
    Store(tmp_path).write(first, make_scores())
    Store(tmp_path).write(make_ok(make_spec(seed=43)), make_scores())
    table = load_frame(tmp_path)
    assert list(table.columns)[list(table.columns).index("key") + 1 :] == [
        *("image_auroc_delong_high", "image_auroc_delong_low"),
        *(f"seconds_{stage}" for stage in ("backbone", "decode", "score", "z")),
    ]
    assert table["image_auroc_delong_low"].tolist()[0] == 0.25
    assert table["seconds_z"].isna().tolist() == [False, True]
    assert table["image_auroc_low"].isna().tolist() == [True, False]


def test_runs_csv_is_the_table(mixed):
    problems = write_runs_csv(mixed.path)
    assert len(problems) == 1
    assert "is not the JSON of a record" in problems[0]
    table = load_frame(str(mixed.path))
    assert table.attrs["problems"] == list(problems)
    dtypes = {name: dtype for name, dtype in table.dtypes.items() if not str(dtype).startswith("datetime")}
    back = pd.read_csv(mixed.path / "runs.csv", dtype=dtypes, float_precision="round_trip")
    for name in ("started", "finished"):
        back[name] = pd.to_datetime(back[name], utc=True).astype(table[name].dtype)
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    assert back["category"].tolist()[0] == "01"


def test_runs_csv_depends_on_the_records_alone(tmp_path):
    records = [make_ok(make_spec(seed=seed, category=category)) for seed in (0, 1) for category in ("a", "01", "é,\r")]
    tables = []
    for shuffle in range(2):
        store = Store(tmp_path / str(shuffle))
        for record in random.Random(shuffle).sample(records, len(records)):
            store.write(record, make_scores())
        write_runs_csv(store.path)
        tables.append((store.path / "runs.csv").read_bytes())
    assert len(set(tables)) == 1
    rows = list(csv.reader(io.StringIO(tables[0].decode(), newline="")))
    assert len(rows) == 1 + len(records)
    assert {row[1] for row in rows[1:]} == {"a", "01", "é,\r"}


def test_runs_csv_is_replaced_whole(tmp_path, monkeypatch):
    write_runs_csv(tmp_path)
    assert (tmp_path / "runs.csv").read_text() == ",".join(COLUMNS) + "\n"
    Store(tmp_path).write(make_failed())
    monkeypatch.setattr("harness.store.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(StoreError, match=f"^store {tmp_path}: cannot be written"):
        write_runs_csv(tmp_path)
    assert (tmp_path / "runs.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_runs_csv_holds_no_formula(tmp_path):
    Store(tmp_path).write(make_ok(make_spec(category="=HYPERLINK(1)"), weights="@x"), make_scores())
    write_runs_csv(tmp_path)
    assert ",'=HYPERLINK(1)," in (tmp_path / "runs.csv").read_text()
    assert ",'@x," in (tmp_path / "runs.csv").read_text()
