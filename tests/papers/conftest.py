"""What the paper's tests share: the published values, and the paper's text where it is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.papers.published import Published
from harness.papers.reading import load_published


@pytest.fixture(scope="session")
def published() -> Published:
    return load_published()


@pytest.fixture(scope="session")
def paper_text(project: Path) -> str:
    path = project.parent / "shared" / "paper" / "paper.txt"
    if not path.is_file():
        pytest.skip("the paper's text is not beside the checkout (../shared/paper)")
    return path.read_text(encoding="utf-8")
