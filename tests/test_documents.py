"""Every command and every override that the documents show is one that the harness takes."""

from __future__ import annotations

import re
import shlex

import pytest

from harness.api import _compose
from harness.config.experiment import expand, to_hydra
from harness.config.keys import KEYS
from harness.config.overrides import parse, quote
from harness.paths import PROJECT

TEXTS = {
    path.name: path.read_text(encoding="utf-8") for path in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
}
FIRST_WORDS = {key.partition(".")[0] for key in KEYS}


def commands() -> list[str]:
    """The arguments of every `python -m harness` in a code block; lines that end with a backslash go on."""
    joined = [text.replace("\\\n", " ") for text in TEXTS.values()]
    return sorted(
        {m[1].strip() for text in joined for m in re.finditer(r"python -m harness +([^\n`#]*=[^\n`#]*)", text)}
    )


def overrides() -> list[str]:
    """Every `key=value` in the running text whose key begins as one of ours does, old names too."""
    found = {m[1] for text in TEXTS.values() for m in re.finditer(r"`([a-z_]+(?:\.[a-z_]+)*=[^`\s]+)`", text)}
    return sorted(one for one in found if re.split(r"[.=]", one)[0] in FIRST_WORDS)


@pytest.mark.parametrize("command", commands())
def test_a_command_composes(command):
    own, hydra = parse([quote(word) for word in shlex.split(command)])
    assert not hydra
    for job in expand(own):
        config, _ = _compose(to_hydra(job))
        assert config.model.name


@pytest.mark.parametrize("override", overrides())
def test_an_override_is_taken(override):
    (own,), _ = parse([quote(override)])
    assert own.values


def test_they_are_found():
    assert len(commands()) > 8
    assert len(overrides()) > 15
