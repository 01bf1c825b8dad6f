"""What keeps these tests quick: one thread for torch, and networks that are made once."""

from __future__ import annotations

import functools

import pytest
import torch

from harness.models.backbone import load_network, load_timm

load_once, timm_once = functools.cache(load_network), functools.cache(load_timm)


@pytest.fixture(scope="session", autouse=True)
def single_thread():
    """On images this small several threads only wait for one another. Tests about threads set their own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def networks_once(monkeypatch):
    """The engines load each network once for all tests; it keeps nothing of the images that it sees."""
    monkeypatch.setattr("harness.models.padim.streaming.load_timm", timm_once)
    monkeypatch.setattr("harness.models.padim.reference.load_network", load_once)
