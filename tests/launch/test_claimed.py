"""What a person sees of runs that another process is at: in a plan, in the status, and on the run's own line."""

from __future__ import annotations

import pytest

from harness.__main__ import main
from harness.store.claims import Claims
from scripts import status


@pytest.fixture
def planned(drawn_mvtec, tmp_path, capsys):
    """The lines of a dry run of two seeds on the drawn bottle."""

    def lines(status: int = 0) -> list[str]:
        capsys.readouterr()
        request = ["dataset=mvtec", f"dataset.root={drawn_mvtec}", "category=bottle", "backbone.weights=random"]
        assert main([*request, "seeds=[1,2]", "device=cpu", f"store={tmp_path / 'store'}", "dry_run=true"]) == status
        return capsys.readouterr().out.splitlines()

    return lines


def test_a_plan_tells_what_is_claimed_and_by_whom(planned, tmp_path):
    first, _, total = planned()
    assert total.startswith("2 runs, 0 done, 2 to do")
    with Claims(tmp_path / "store") as others:
        others.take(first.split()[0])
        first, second, total = planned()
        assert first.split()[1] == "claimed"
        assert "another sweep runs it" in first
        assert second.split()[1:3] == ["to", "do"]
        assert total.startswith("2 runs, 0 done, 1 claimed, 1 to do")
    assert planned()[2].startswith("2 runs, 0 done, 2 to do")


def test_the_status_tells_what_is_running(tmp_path, capsys):
    with Claims(tmp_path) as claims:
        claims.take("0123456789ab", "mvtec/bottle resnet18 seed 42")
        assert status.main(["--store", str(tmp_path)]) == 0
        assert "running now: mvtec/bottle resnet18 seed 42 (" in capsys.readouterr().out
    status.main(["--store", str(tmp_path)])
    assert "running now" not in capsys.readouterr().out


def test_a_plan_shows_a_record_that_cannot_be_trusted_beside_the_others(planned, tmp_path, drawn_mvtec, capsys):
    request = ["dataset=mvtec", f"dataset.root={drawn_mvtec}", "category=bottle", "backbone.weights=random"]
    assert main([*request, "seed=1", "device=cpu", f"store={tmp_path / 'store'}"]) == 0
    (path,) = (tmp_path / "store").rglob("record.json")
    path.write_text("{")
    first, second, total = planned(status=1)
    assert first.split()[1] == "failed"
    assert "record.json: is not the JSON of a record" in first
    assert second.split()[1:3] == ["to", "do"]
    assert total.startswith("2 runs, 0 done, 1 cannot be done, 1 to do")
