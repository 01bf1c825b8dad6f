"""A sweep killed at any moment: what was complete stays, what was not is made again, and nothing gathers."""

from __future__ import annotations

import os
import random

import pytest

from tests.reliability.sweeps import draw, ended, litter, results, start, undisturbed, wait

N_RUNS = 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("together", [1, 2])
def test_sweeps_killed_ten_times_end_as_if_they_never_were(tmp_path, together):
    """Each at a random moment or while something is written; in turn by one, or by two on the same store."""
    words = [*draw(tmp_path / "mvtec", "bottle", "cable"), "seeds=[0,1]"]
    seed = int.from_bytes(os.urandom(4), "big")
    chance = random.Random(seed)
    seconds = undisturbed(words, tmp_path / "reference")
    reference = results(tmp_path / "reference")
    assert len(reference) == N_RUNS
    kills = rounds = 0
    while kills < 10:
        base, kept = tmp_path / str(rounds), {}
        while kills < 10 and len(kept) < N_RUNS:
            sweeps = [start(words, base) for _ in range(together)]
            hunted = "store/runs/*/*/*/*/" + chance.choice([".*.tmp", "nothing"])
            wait(chance.uniform(0, 1.1) * seconds, lambda base=base, hunted=hunted: any(base.glob(hunted)))
            for sweep in sweeps[: max(1, together - chance.randrange(2))]:
                sweep.kill()
            statuses = [ended(sweep) for sweep in sweeps]
            assert set(statuses) <= {0, -9}, f"seed {seed}: {statuses}\n{(base / 'log').read_text()}"
            kills += statuses.count(-9)
            results(base)
            there = records(base)
            assert kept.items() <= there.items(), f"seed {seed}: an ok record vanished, changed or was written again"
            kept = there
        assert ended(start(words, base)) == 0
        assert results(base) == reference, f"seed {seed}"
        assert kept.items() <= records(base).items(), f"seed {seed}: a complete run was made again"
        assert litter(base) == [], f"seed {seed}"
        rounds += 1


def records(base):
    """Each record's bytes, and its file's number, so that one that was written again is noticed."""
    paths = (base / "store").glob("runs/**/record.json")
    return {path: (path.read_bytes(), path.stat().st_ino) for path in paths}
