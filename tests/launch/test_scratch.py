"""A sweep's files: gone when all went well, kept for a while when not, never growing."""

from __future__ import annotations

import os
import time

import pytest

from harness.launch.scratch import FOLDER, KEPT_S, discard, scratch_folder


def test_a_folder_that_nobody_needed_leaves_nothing(tmp_path):
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as two:
        assert one != two
        one.mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []


def test_files_stay_unless_they_are_discarded(tmp_path):
    with scratch_folder(tmp_path) as scratch:
        scratch.mkdir(parents=True)
        (scratch / "log").touch()
    assert (scratch / "log").exists()
    discard(scratch)
    assert not scratch.exists()


@pytest.mark.parametrize(("age_s", "kept"), [(KEPT_S - 60, True), (KEPT_S + 60, False)])
def test_old_files_go_with_the_next_sweep(tmp_path, age_s, kept):
    old = tmp_path / FOLDER / "old"
    old.mkdir(parents=True)
    (old / "log").touch()
    os.utime(old, (time.time() - age_s,) * 2)
    with scratch_folder(tmp_path):
        assert old.exists() == kept


def test_an_old_folder_of_a_sweep_that_lives_is_kept(tmp_path):
    """A cluster's queue may hold a sweep for weeks."""
    with scratch_folder(tmp_path) as ours:
        ours.mkdir(parents=True)
        (ours / "log").touch()
        os.utime(ours, (0, 0))
        with scratch_folder(tmp_path):
            assert (ours / "log").exists()
    dead = ours.with_name(ours.name.replace(f"-{os.getpid()}-", "-4194305-"))
    ours.rename(dead)
    with scratch_folder(tmp_path):
        assert not dead.exists()
