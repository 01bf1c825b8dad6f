"""Files that say what to run and what it costs: costs.toml and experiments, damaged or made up."""

from __future__ import annotations

import json

from hypothesis import example
from hypothesis import strategies as st

from harness import experiment
from harness.errors import RequestError
from harness.experiment import Experiment, load_experiment
from harness.keys import CONFIGS, KEYS
from harness.reproduce.costs import FILE, Costs, Work, load_costs, processor_seconds
from tests.fuzz.strategies import changed, damaged, json_values, texts
from tests.fuzz.target import answer, fuzz

WORK = Work(backbone="resnet18", n_train=10, n_test=5, n_seeds=2, n_passes=1)


@fuzz(150, content=damaged(FILE.read_bytes()))
@example(b"a." * 5000 + b"b = 1")
@example(b"a = " + b"[" * 5000)
@example(FILE.read_bytes().replace(b"megapixels = 0.81", b"megapixels = nan"))
@example(FILE.read_bytes().replace(b"megapixels = 0.81", b"megapixels = -1"))
@example(FILE.read_bytes().replace(b"megapixels = 0.81", b"megapixels = true"))
@example(FILE.read_bytes().replace(b"megapixels = 0.81", b'megapixels = "a\\u001b"'))
@example(b"\xff")
def test_damaged_costs_are_costs_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "costs.toml"
    path.write_bytes(content)
    costs = answer(load_costs, path, refusals=(RequestError,))
    if costs is not None:
        assert isinstance(costs, Costs)
        if "resnet18" in costs.backbone and ".png" in costs.decode_seconds:
            assert processor_seconds(WORK, costs) > 0


EXPERIMENT = {
    "experiment": {
        "name": "x",
        "title": "y",
        "seeds": [0, 1],
        "grids": [
            {"dataset": "mvtec", "category": ["bottle", "01"], "backbone": ["resnet18"], "protocol.epsilon": 0.01}
        ],
    }
}
files = st.one_of(
    damaged((CONFIGS / "experiment" / "table1_mvtec.yaml").read_bytes()),
    changed(EXPERIMENT).map(lambda data: json.dumps(data).encode()),
    json_values.map(lambda data: json.dumps({"experiment": data}).encode()),
    texts.map(lambda text: f"experiment: {text}".encode("utf-8", "replace")),
)


@fuzz(150, content=files)
@example(b"experiment: &a [*a, *a]")
@example(b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nexperiment: *c")
@example(b"experiment: !!python/object/apply:os.system ['touch executed']")
@example(b"experiment: " + b"[" * 3000)
@example(b"experiment: {name: x, title: x, seeds: [1], grids: [{dataset: a, category: b, backbone: c, z: []}]}")
@example(b"experiment: {name: ${oc.env:HOME}, title: x, seeds: [1], grids: []}")
@example(b"\xff\xfe")
def test_any_experiment_file_is_one_or_one_line(tmp_path_factory, monkeypatch, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / "experiment").mkdir(exist_ok=True)
    (folder / "experiment" / "x.yaml").write_bytes(content)
    monkeypatch.setattr(experiment, "CONFIGS", folder)
    found = answer(load_experiment, "x", refusals=(RequestError,))
    if found is not None:
        assert isinstance(found, Experiment)
        assert all(set(grid) <= set(KEYS) for grid in found.grids)
