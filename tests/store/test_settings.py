"""A record's settings, flat, and what differs between several."""

from __future__ import annotations

from harness.store.settings import flat, settings_of, shown, varying
from tests.store.making import make_ok, make_spec


def test_nested_fields_have_one_name_each_in_their_order():
    assert flat({"a": 1, "b": {"c": [2], "d": {"e": None}}, "f": {}}) == {"a": 1, "b.c": [2], "b.d.e": None}
    assert list(flat({"b": {"z": 1, "a": 2}, "a": 3})) == ["b.z", "b.a", "a"]


def test_a_records_settings_are_what_its_key_covers_without_its_name_and_its_labels():
    spec = make_spec(seed=7, n_features=50, epsilon=0.5)
    settings = settings_of(make_ok(spec, weights="random", protocol_name="anomalib_v2"))
    assert (settings["n_features"], settings["protocol.epsilon"], settings["metrics.version"]) == (50, 0.5, 0)
    assert (settings["weights"], settings["protocol"], settings["dataset.limit"]) == ("random", "anomalib_v2", None)
    assert settings["backbone.weights_digest"] == "ab" * 32
    assert not {"dataset", "category", "backbone.name", "seed"} & set(settings)
    covered = {name for name in flat(spec) if name not in ("dataset", "category", "backbone.name", "seed")}
    assert set(settings) == covered | {"weights", "protocol", "dataset.limit"}


def test_what_varies_is_named_once_in_the_order_of_the_fields():
    assert varying([]) == []
    assert varying([{"a": 1, "b": 2}]) == []
    assert varying([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "c": 4}, {"a": 1, "b": 2, "c": 3}]) == ["b", "c"]
    assert varying([{"a": 1}, {"a": 1, "b": 2}]) == ["b"]
    assert varying([{"a": None}, {}]) == []


def test_nothing_is_shown_as_none():
    assert [shown(value) for value in (None, 0, 0.5, [1, 2], False)] == ["none", "0", "0.5", "[1, 2]", "False"]
