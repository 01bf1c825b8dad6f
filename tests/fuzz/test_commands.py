"""The command line: any words are a request, or one line that says what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example
from hypothesis import strategies as st

from harness.config.experiment import expand
from harness.config.keys import KEYS
from harness.config.overrides import parse, quote, split_flags
from harness.errors import RequestError
from harness.store.fields import component
from tests.fuzz.strategies import json_values, texts
from tests.fuzz.target import answer, fuzz

GRAMMAR = (
    "[", "]", "{", "}", "(", ")", ",", ":", "=", "'", '"', "\\", "$", "${", "a", "1", "-1", "0x1", "1e9", "1.5",
    "null", "true", "nan", "inf", "range(", "range(0,3)", "choice(", "interval(0,1)", "glob(*)", "sort(", "shuffle(",
    "tag(", "int(", "str(", "extend_list(", "@", "~", "+", "*", " ", "\t", "mvtec", "resnet18", "paper", "bottle",
    "table1_mvtec", "[0,1]", "../x",
)  # fmt: skip

values = texts | st.lists(st.sampled_from(GRAMMAR), max_size=8).map("".join)
keys = st.sampled_from(
    [*KEYS, "hydra.x", "hydra/launcher", "+seed", "~seed", "++x", "category@x", "Seed", "", "dataset.x"]
)
USUAL = (
    "category=a,b", "category=01", "seed=1,2", "seeds=[0,1]", "dataset=mvtec", "model.epsilon=0.1", "store=x y",
    "preprocessing.resize=[8,9]", "model.n_features=[1,2]", "dataset.limit=null",
    "threads=2", "device=cpu", "backbone=resnet18",
)  # fmt: skip
words = st.one_of(
    st.sampled_from(USUAL),
    st.sampled_from(USUAL),
    st.builds(lambda key, value: f"{key}={value}", keys, values),
    values,
    st.sampled_from(["--help", "-h", "--version", "--multirun", "-m", "--cfg", "-c", "--cfg=job"]),
    values.map("--".__add__),
)


def request(words: list[str]) -> list[dict[str, Any]]:
    """What `python -m harness` makes of its words before Hydra starts."""
    _, overrides = split_flags(words)
    return expand(parse([quote(override) for override in overrides])[0])


@fuzz(120, words=st.lists(words, max_size=4).map(lambda given: ["category=x", *given] if len(given) % 2 else given))
@example(["category=x", "seed=range(0,4294967295)"])
@example(["category=x", "seed=range(0,1e18,0.1)"])
@example(["category=x", "seeds=" + "[" * 3000])
@example(["category=x", "model.n_features=" + "[" * 300 + "]" * 300])
@example(["category=x", "seed=" + "9" * 5000])
@example(["category=x", "model.epsilon=" + "9" * 5000])
@example(["category=x", "seed=range(0,3,0)"])
@example(["category=x", "seed=1e400"])
@example(["category=x", "dataset=${oc.env:HOME}"])
@example(["category=" + "x" * 100_000])
@example(["seed=\ud800", "category=\ud800"])
@example(["category=a\x1b[2Jb\n"])
@example(["category=x", *(f"{key}=0,1,2,3,4,5,6,7,8,9" for key in ("model.blur_sigma", "metrics.bootstrap_seed"))])
def test_any_words_are_a_request_or_one_line(words):
    jobs = answer(request, words, refusals=(RequestError,))
    for job in jobs or ():
        assert set(job) <= {*KEYS, "experiment"}
        folder = component(job["category"]) if "category" in job else "x"
        assert folder not in {"", ".", ".."}
        assert "/" not in folder


@fuzz(150, key=st.sampled_from([*KEYS]), value=json_values)
@example("model.epsilon", 10**400)
@example("threads", 2**63)
def test_any_value_fits_its_key_or_does_not(key, value):
    """What a configuration file may hold, since a key's rule is also asked about those."""
    try:
        accepted = KEYS[key].check(value)
    except ValueError:
        return
    assert accepted is None or isinstance(accepted, str | int | float | list)
    assert KEYS[key].check(accepted) == accepted


@pytest.mark.parametrize("value", [float("nan"), [[[1]]], {"a": 1}])
def test_no_key_takes_nonsense(value):
    for entry in KEYS.values():
        with pytest.raises(ValueError):
            entry.check(value)
