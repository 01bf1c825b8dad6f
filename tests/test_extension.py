"""A new dataset, model, backbone and metric, each added as CONTRIBUTING.md says: one or two files, then a sweep."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from harness.paths import PROJECT
from tests.drawing import draw_mvtec_category

FILES = {
    "configs/dataset/bolts.yaml": """
name: bolts
layout: mvtec
about:
  title: Bolts
  licence: CC0
  licence_url: https://example.org/licence
  citation: nobody
  categories: {m4: [6, 4, 6]}
""",
    "configs/backbone/resnet10.yaml": """
name: resnet10
architecture: resnet10t
pretrained_tag: c3_in1k
layers: [layer1, layer2]
channels: [64, 128]
reductions: [4, 8]
""",
    "configs/model/mean_image.yaml": """
name: mean_image
power: 2.0
""",
    "harness/models/mean_image.py": '''
"""The distance of each pixel from the mean training image."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic.dataclasses import dataclass

from harness.config.settings import STRICT, ModelConfig, Option, Positive
from harness.models.base import Detector, Model


@dataclass(frozen=True, config=STRICT)
class MeanImageConfig(ModelConfig):
    """Its settings."""

    power: Annotated[Positive, Option("a number above 0")]
    """Of the distance."""


class MeanImage(Detector):
    """Learns a mean."""

    def __init__(self, power):
        self.power = power

    def fit(self, batches):
        """Take the mean."""
        self.mean = torch.cat(list(batches)).mean(dim=0)

    def score(self, batch):
        """Measure the distance."""
        maps = (batch - self.mean).abs().pow(self.power).mean(dim=1)
        return maps.numpy(), maps.amax(dim=(1, 2)).double().numpy()


class MeanImageModel(Model):
    """What the harness asks."""

    settings = MeanImageConfig

    def detector(self, run, weights):
        """Return an empty one."""
        return MeanImage(run.model.power)


MODEL = MeanImageModel()
''',
    "harness/metrics/gap.py": '''
"""The gap between the classes' mean image scores."""

from harness.metrics.registry import metric


@metric(name="image_gap", level="image", label="Image gap", low=float("-inf"), high=float("inf"), needs={"scores"})
def image_gap(images):
    """Return the mean score of defective images less that of good ones."""
    return float(images.ranked.positives.mean() - images.ranked.negatives.mean())
''',
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a checkout runs from, with the new files in it."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "harness", "hydra_plugins", "results/papers"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES.items():
        (root / name).write_text(content.lstrip())
    draw_mvtec_category(root / "data" / "bolts" / "m4", n_train=6)
    return root


def run(checkout, *words):
    environment = {**os.environ, "PYTHONPATH": str(checkout), "DATA_ROOT": str(checkout / "data")}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


def test_a_sweep_over_a_new_dataset_model_backbone_and_metric(checkout):
    request = [
        "dataset=bolts",
        "category=all",
        "model=mean_image,padim",
        "backbone=resnet10",
        "backbone.weights=random",
    ]
    request += ["preprocessing.resize=64", "preprocessing.center_crop=null", "seed=0,1", "store=out"]
    refused = run(checkout, "-m", "harness", *request, "model.power=3")
    assert "model.power=3: model=padim has no such setting" in refused.stderr
    asked = run(checkout, "-m", "harness", *request)
    assert "model.n_features: protocol=paper has no value for backbone=resnet10" in asked.stderr
    done = run(checkout, "-m", "harness", *(word.replace(",padim", "") for word in request), "model.power=1,3")
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in (checkout / "out" / "runs").rglob("record.json")]
    assert {(one["spec"]["model"]["power"], one["spec"]["seed"]) for one in records} == {(1, 0), (1, 1), (3, 0), (3, 1)}
    for one in records:
        assert one["metrics"]["image_gap"]["value"] > 0
        assert 0 <= one["metrics"]["pixel_auroc"]["value"] <= 1
        assert one["dataset"]["title"] == "Bolts"
    table = (checkout / "out" / "runs.csv").read_text().splitlines()
    assert {"image_gap", "model.power", "model"} <= set(table[0].split(","))
    assert len(table) == 5
