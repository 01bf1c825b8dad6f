"""Fixtures that every part uses: the real bottle where it is at hand, and small drawn datasets where it is not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before anything loads torch: the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from tests.drawing import draw_mvtec_category

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In a shell's background Ctrl-C is ignored, here and in all that is started from here; some tests send one.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's own cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    path = (PROJECT.parent / "shared").resolve()  # anomalib resolves links, and some tests compare paths
    if not (path / "data" / "mvtec" / "bottle").is_dir():
        pytest.skip("the real MVTec AD bottle is not beside the checkout (../shared/data)")
    return path


@pytest.fixture(scope="session")
def real_mvtec(shared) -> Path:
    """The dataset root that holds the real category `bottle`."""
    return shared / "data" / "mvtec"


@pytest.fixture(scope="session")
def real_weights(shared) -> Path:
    path = shared / "weights" / "resnet18.tv_in1k.conv1-layer3.safetensors"
    if not path.is_file():
        pytest.skip("the real ResNet-18 weights are not beside the checkout (../shared/weights)")
    return path


@pytest.fixture
def drawn_mvtec(tmp_path) -> Path:
    """A dataset root in MVTec AD's layout with one drawn category `bottle`: 12 train, 4 good, 6 defective, 96x96."""
    root = tmp_path / "mvtec"
    draw_mvtec_category(root / "bottle")
    return root
