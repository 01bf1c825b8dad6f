"""What an engine changes for itself is as it was afterwards, also after an error."""

from __future__ import annotations

import logging
import os
import random
import warnings

import numpy as np
import pytest
import torch

from harness.padim.isolation import exact_arithmetic, one_thread, preserved_random_state, silence


def switches() -> tuple:
    backends = torch.backends
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        backends.cudnn.deterministic,
        backends.cudnn.benchmark,
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.allow_tf32,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("cublas", [None, ":16:8"])
def test_a_gpus_switches_are_exact_inside_and_restored_outside(monkeypatch, fails, cublas):
    """The switches are torch's, and need no GPU to be set."""
    if cublas:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", cublas)
    else:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    assert before[5], "torch's own default is TF32 in convolutions; without it this test shows nothing"
    try:
        with exact_arithmetic("cuda"):
            assert switches() == (True, False, False, True, False, False, False, cublas or ":4096:8")
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        pass
    assert switches() == before


def test_the_cpu_needs_no_switch():
    before = switches()
    with exact_arithmetic("cpu"):
        assert switches() == before


@pytest.mark.parametrize("fails", [False, True])
def test_generators_are_put_back(monkeypatch, fails):
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)

    def draw() -> tuple:
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    from lightning.pytorch import seed_everything

    seed_everything(9)
    expected = draw()
    seed_everything(9)
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    monkeypatch.delenv("PL_GLOBAL_SEED")
    try:
        with preserved_random_state():
            seed_everything(1, workers=True)
            draw()
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        pass
    assert draw() == expected
    assert os.environ["PL_SEED_WORKERS"] == "0"
    assert "PL_GLOBAL_SEED" not in os.environ


def test_one_thread_for_a_while():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with one_thread() as had:
        assert had == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_silence_ends(caplog, recwarn):
    logger = logging.getLogger("lightning.pytorch")
    before = logging.root.manager.disable
    with silence():
        logger.warning("chatter")
        warnings.warn("more chatter", stacklevel=1)
    assert not caplog.records
    assert not recwarn.list
    with silence():
        logger.error("trouble")
    assert [record.message for record in caplog.records] == ["trouble"]
    assert logging.root.manager.disable == before
    with pytest.warns(UserWarning, match="heard again"):
        warnings.warn("heard again", stacklevel=1)
