"""The steps: a missing dataset stops nothing."""

from __future__ import annotations

import pytest

from harness.errors import RequestError
from harness.papers.reading import load_published
from harness.reproduce import steps
from harness.reproduce.plan import Request
from tests.papers.making import PUBLISHED


def test_a_dataset_that_cannot_be_had_is_one_line_and_the_next_is_tried(tmp_path, monkeypatch):
    asked = []

    def refuse(request):
        asked.append(request.target)
        if request.info.name == "visa":
            raise RequestError("the address does not answer")
        return True

    monkeypatch.setattr(steps, "download", refuse)
    said = []
    request = Request(paper=PUBLISHED, data_root=tmp_path, store=tmp_path, seeds=(42,))
    wanted = ["visa", "btad"]
    assert steps.fetch(wanted, request, said.append) == 1
    assert asked == [tmp_path / "visa", tmp_path / "btad"]
    assert "visa: the address does not answer" in said
    assert any("CC BY" in line for line in said)
    assert steps.fetch(wanted[1:], request, said.append) == 0


def test_a_paper_that_no_experiment_makes_is_refused_in_one_line(tmp_path):
    request = Request(paper=load_published("ader_patchcore"), data_root=tmp_path, store=tmp_path, seeds=(42,))
    with pytest.raises(RequestError, match=r"^paper ader_patchcore: its tables\.toml names no experiment, so no run"):
        steps.reproduce(request, download=False, dry_run=True, show=print, say=print)
