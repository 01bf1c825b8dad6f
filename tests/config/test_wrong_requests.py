"""Every wrong request of the command line: status 2, one line that names the thing and what to do, nothing written."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness import device
from harness.__main__ import main
from tests.drawing import draw_mvtec_category

SEEDS = ",".join(map(str, range(60)))

REQUESTS = {
    # keys
    "sedd=1": ["sedd=1: no such key (did you mean seed?); allowed: dataset,"],
    "+sedd=1": ["+sedd=1: keys cannot be added"],
    "++seed=1": ["++seed=1: keys cannot be added"],
    "~seed": ["~seed: keys cannot be added or removed"],
    "store": ["store: is not key=value; give store=VALUE"],
    "protocol.nope=1": ["protocol.nope=1: no such key"],
    "n_features=50": ["n_features is called model.n_features now; give model.n_features=50"],
    "protocol.resize=128": ["protocol.resize is called preprocessing.resize now"],
    "engine=streming": ["engine=streming: is not allowed (did you mean streaming?)"],
    "preprocessing.interpolation=lanczos preprocessing.antialias=false": ["lanczos always uses antialiasing"],
    "dataset.name=x": ["dataset.name=x: no such key"],
    "seed=1 seed=2": ["seed", "twice"],
    "seed=1 seeds=[1]": ["seed and seeds are both given"],
    # values
    "seed=abc": ["seed=abc: is not allowed", "whole number"],
    "seed=1.5": ["seed=1.5", "whole number"],
    "seed=-1": ["seed=-1", "from 0"],
    "seed=4294967296": ["seed=4294967296", "4294967295"],
    "seed=true": ["seed=true", "whole number"],
    "seeds=3": ["seeds=3", "[0,1,2]"],
    "seeds=[]": ["seeds=[]", "[0,1,2]"],
    "model.n_features=0": ["model.n_features=0", "at least 1"],
    "model.n_features=[": ["model.n_features=[", "at least 1"],
    "backbone=resnet19": ["backbone=resnet19: no such backbone (did you mean resnet18?)", "wide_resnet50_2"],
    "dataset=mvtek": ["dataset=mvtek: no such dataset (did you mean mvtec?)"],
    "protocol=papre": ["protocol=papre: no such protocol (did you mean paper?)"],
    "experiment=tabel1": ["experiment=tabel1: no such experiment"],
    "model.epsilon=0": ["model.epsilon=0", "above 0"],
    "model.epsilon=nan": ["model.epsilon=nan", "above 0"],
    "model.epsilon=inf": ["model.epsilon=inf", "above 0"],
    "preprocessing.center_crop=[1]": ["preprocessing.center_crop=[1]", "height"],
    "dataset.root=": ["dataset.root=", "empty"],
    "category=": ["category=", "empty"],
    "device=tpu": ["device=tpu", "cuda"],
    "engine=fast": ["engine=fast", "streaming"],
    "dry_run=maybe": ["dry_run=maybe", "true"],
    f"seeds=[{SEEDS}] model.n_features=range(1,177)": ["means 10560 runs, and at most 10000 are allowed"],
    # what does not go together, or is not there
    "dataset.root=/nowhere": ["/nowhere"],
    "category=botle": ["did you mean bottle"],
    "category=cable": ["cable"],  # in the catalog, but not in this folder
    "model.n_features=449": ["model.n_features=449: resnet18 has 448 channels"],
    "backbone.weights=/nowhere.pth": ["backbone.weights=/nowhere.pth: there is no such file"],
    "backbone.weights=/nowhere.txt": ["neither a .safetensors nor a .pth"],
    "backbone.weights=package": ["no package has weights of resnet18"],
    "backbone.weights={other}": ["of another network: conv1.weight"],
    "preprocessing.center_crop=[300,300]": ["is larger than preprocessing.resize"],
    "model.blur_sigma=3 engine=reference": ["model.blur_sigma=3: engine=reference always blurs with 4"],
    "model.blur_sigma=60": ["model.blur_sigma=60 reaches 240 pixels and each side of the input must be larger"],
    "store={other}/store": ["weights.safetensors"],
    "memory_budget=0.3": ["memory_budget=0.3: this run needs about 1."],
    "memory_budget=0.3 dry_run=true": ["memory_budget=0.3: this run needs about 1."],
    "device=cuda": ["device=cuda: this machine has no CUDA device"],
    # launchers
    "jobs=2 launcher=basic": ["jobs=2: launcher=basic runs one job at a time; give"],
    "launcher=basic,joblib": ["launcher=basic,joblib:", "give one"],
    "jobs=1,2": ["jobs=1,2:", "give one"],
    "slurm.partition=gpu": ["slurm.partition=gpu: is for SLURM; give launcher=submitit_slurm"],
    "launcher=ray slurm.mem_gb=8": ["slurm.mem_gb=8.0: is for SLURM"],
    "launcher=submitit_slurm slurm.qos=a,b": ["slurm.qos=a,b:", "give one"],
    "hydra/launcher=joblib": ["hydra/launcher=joblib:", "give launcher=NAME"],
    "hydra.launcher.partition=gpu": ["hydra.launcher.partition=gpu:", "slurm.partition=NAME"],
    "hydra/sweeper=basic": ["hydra/sweeper=basic:", "cannot be changed here"],
    "hydra.mode=RUN": ["hydra.mode=RUN:", "cannot be changed here"],
    # flags
    "--sede": ["unrecognized arguments: --sede; --help shows"],
    "-x": ["unrecognized arguments: -x"],
    "--config-dir=/x": ["unrecognized arguments: --config-dir=/x"],
    "--package=x": ["unrecognized arguments: --package=x"],
    "--cfg job -m": ["--cfg: shows one configuration and runs nothing; leave -m out"],
    "--cfg foo": ["--cfg/-c: invalid choice: 'foo' (choose from 'job', 'hydra', 'all')"],
    "--multirun=1": ["--multirun/-m: ignored explicit argument '1'"],
    "--cfg": ["--cfg/-c: expected one argument"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A drawn bottle, an empty working folder, and weights of another network."""
    folder = tmp_path_factory.mktemp("wrong")
    draw_mvtec_category(folder / "mvtec/bottle", size=32)
    (folder / "cwd").mkdir()
    save_file({"conv1.weight": np.zeros((8, 3, 3, 3), np.float32)}, folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize("words", REQUESTS)
def test_a_wrong_request_is_one_line(folder, monkeypatch, capsys, words):
    monkeypatch.chdir(folder / "cwd")
    monkeypatch.setattr(device, "_cuda_is_available", lambda: False)
    asked = words.format(other=folder / "weights.safetensors").split()
    base = {"dataset": "mvtec", "dataset.root": folder / "mvtec", "category": "bottle", "backbone.weights": "random"}
    base |= {"store": folder / "store"}
    given = {word.partition("=")[0] for word in asked}
    status = main([*(f"{key}={value}" for key, value in base.items() if key not in given), *asked])
    out, err = capsys.readouterr()
    said = [line for line in (out + err).splitlines() if line]
    assert (status, len(said)) == (2, 1), out + err
    for part in REQUESTS[words]:
        assert part in said[0]
    assert not list((folder / "cwd").iterdir())
    assert not list(folder.rglob("record.json"))


def test_no_category_is_refused(capsys):
    assert main(["dataset=mvtec"]) == 2
    assert "category: is not given; give category=NAME" in capsys.readouterr().err
