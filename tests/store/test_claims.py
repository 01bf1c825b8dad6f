"""Claims: one holder at a time, whoever races for it; over as soon as the holder is gone, or has long been silent."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store import claims as module
from harness.store.claims import CLAIMS, Claims, Holder

KEY = "0123456789ab"
ELSEWHERE = "00000000"
"""The name of a machine that this is not."""


def files(store: Path) -> list[str]:
    folder = store / CLAIMS
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def plant(store: Path, key: str = KEY, *, age_s: float = 0.0, **changes: object) -> Path:
    """A claim as another process left it, last touched so long ago."""
    holder = replace(module._new_holder(key, "mvtec/bottle"), **changes)
    path = store / CLAIMS / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.fixture(scope="module")
def dead() -> dict[str, object]:
    """What tells a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    started = module._start_of(process.pid)
    process.communicate()
    return {"pid": process.pid, "started": started}


def test_a_claim_is_held_until_it_is_released_and_leaves_nothing(tmp_path):
    with Claims(tmp_path) as ours, Claims(tmp_path) as theirs:
        assert ours.take(KEY, "mvtec/bottle") is None
        assert ours.take(KEY) is None  # still ours
        holder = theirs.take(KEY)
        assert isinstance(holder, Holder)
        assert (holder.key, holder.label, holder.pid) == (KEY, "mvtec/bottle", os.getpid())
        assert str(os.getpid()) in str(holder)
        assert theirs.living() == (holder,)
        theirs.release(KEY)  # not theirs
        assert theirs.holder(KEY) == holder
        ours.release(KEY)
        assert theirs.take(KEY) is None
    assert not (tmp_path / CLAIMS).exists()


@pytest.mark.parametrize("ending", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_every_way_out_releases(tmp_path, ending):
    def work() -> None:
        with Claims(tmp_path) as claims:
            claims.take(KEY)
            claims.take("another")
            raise ending

    with pytest.raises(ending):
        work()
    assert not (tmp_path / CLAIMS).exists()


def test_asking_makes_no_folder(tmp_path):
    claims = Claims(tmp_path / "store")
    assert claims.holder(KEY) is None
    assert claims.living() == ()
    claims.tidy()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_of_a_process_that_is_gone_is_taken_over_at_once(tmp_path, dead):
    plant(tmp_path, **dead)
    with Claims(tmp_path) as claims:
        assert claims.holder(KEY) is None
        assert claims.take(KEY) is None
        assert [holder.pid for holder in claims.living()] == [os.getpid()]


def test_a_process_with_the_number_of_one_that_is_gone_holds_nothing(tmp_path):
    plant(tmp_path, pid=os.getpid(), started="1")
    with Claims(tmp_path) as claims:
        assert claims.take(KEY) is None


def test_a_process_of_this_machine_that_hangs_or_was_stopped_holds_until_it_has_long_been_silent(tmp_path):
    path = plant(tmp_path, age_s=100)
    with Claims(tmp_path, expiry_s=120) as claims:
        assert claims.take(KEY) is not None
        os.utime(path, (time.time() - 140,) * 2)
        assert claims.take(KEY) is None


@pytest.mark.parametrize("change", [{"machine": ELSEWHERE}, {"started": ""}])
def test_where_nothing_is_known_of_the_process_silence_ends_a_claim(tmp_path, dead, change):
    path = plant(tmp_path, age_s=100, **{**dead, **change})
    with Claims(tmp_path, expiry_s=120) as claims:
        assert claims.take(KEY) is not None
        os.utime(path, (time.time() - 140,) * 2)
        assert claims.take(KEY) is None


def test_age_is_by_the_clock_of_the_file_system(tmp_path, monkeypatch):
    plant(tmp_path, age_s=60, machine=ELSEWHERE)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # this machine's clock is decades behind
    assert Claims(tmp_path, expiry_s=120).holder(KEY) is not None
    assert Claims(tmp_path, expiry_s=30).holder(KEY) is None


def test_the_holder_touches_its_claims(tmp_path):
    with Claims(tmp_path, beat_s=0.02) as claims:
        claims.take(KEY)
        path = tmp_path / CLAIMS / f"{KEY}.json"
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1


def test_who_was_taken_over_neither_touches_nor_ends_the_other_claim(tmp_path):
    with Claims(tmp_path, beat_s=0.02) as ours:
        ours.take(KEY)
        path = plant(tmp_path, machine=ELSEWHERE, age_s=10)  # another took over, since we were stopped for long
        before = path.stat().st_mtime
        time.sleep(0.2)
        ours.release(KEY)
        assert path.stat().st_mtime == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": "0123456789ab"}', b"\xff" * 9000])
def test_a_damaged_claim_counts_until_it_is_old(tmp_path, content):
    path = plant(tmp_path)
    path.write_bytes(content)
    with Claims(tmp_path) as claims:
        holder = claims.take(KEY)
        assert holder is not None
        assert "unknown" in str(holder)
        os.utime(path, (0, 0))
        assert claims.take(KEY) is None


def test_a_takeover_that_was_cut_off_is_finished_by_the_next(tmp_path, dead):
    path = plant(tmp_path, **dead)
    mark = path.with_name(f"{KEY}.{json.loads(path.read_text())['token']}.end")
    mark.touch()
    with Claims(tmp_path) as claims:
        assert claims.take(KEY) is not None  # somebody is about to take it
        os.utime(mark, (0, 0))
        assert claims.take(KEY) is None
    assert not (tmp_path / CLAIMS).exists()


def signed(machine: str, pid: int, started: str) -> str:
    return f"{machine} {pid} {started}"


def marked(path: Path, text: str) -> Path:
    """A mark on a claim, as whoever ends it leaves it for a moment."""
    mark = path.with_name(f"{KEY}.{json.loads(path.read_text())['token']}.end")
    mark.write_text(text)
    return mark


def test_a_takeover_whose_process_was_killed_is_finished_at_once(tmp_path, dead):
    marked(plant(tmp_path, **dead), signed(module.machine(), **dead))
    with Claims(tmp_path) as claims:
        assert claims.take(KEY) is None
    assert files(tmp_path) == []
    marked(plant(tmp_path, **dead), signed(module.machine(), **dead))
    Claims(tmp_path).tidy()
    assert files(tmp_path) == []


@pytest.mark.parametrize("change", [{"machine": ELSEWHERE}, {"pid": os.getpid(), "started": "here"}])
def test_a_mark_of_whoever_may_live_stays_until_it_is_old(tmp_path, dead, change):
    if change.get("started") == "here":
        change = {**change, "started": module._start_of(os.getpid())}
    mark = marked(plant(tmp_path, **dead), signed(**{"machine": module.machine(), **dead, **change}))
    with Claims(tmp_path) as claims:
        assert claims.take(KEY) is not None
        claims.tidy()
        assert mark.exists()
        os.utime(mark, (0, 0))
        assert claims.take(KEY) is None


def test_a_number_that_another_process_has_by_now_is_no_maker(tmp_path, dead):
    mark = marked(plant(tmp_path, **dead), signed(module.machine(), os.getpid(), dead["started"]))
    Claims(tmp_path).tidy()
    assert not mark.exists()
    assert files(tmp_path) == []


@pytest.mark.parametrize("text", ["", "one two", "a b c d", f"{module.machine()} x 1", "\x00" * 9000])
def test_a_mark_that_says_nothing_is_judged_by_its_age(tmp_path, dead, text):
    mark = marked(plant(tmp_path, **dead), text)
    Claims(tmp_path).tidy()
    assert mark.exists()
    os.utime(mark, (0, 0))
    Claims(tmp_path).tidy()
    assert files(tmp_path) == []


def test_whoever_ends_a_claim_signs(tmp_path, monkeypatch, dead):
    path, seen = plant(tmp_path, **dead), []
    claims = Claims(tmp_path)
    monkeypatch.setattr(claims, "_is_over", lambda _: seen.append(next(path.parent.glob("*.end")).read_text()) or True)
    assert claims._end(path, None)
    assert seen == [signed(module.machine(), os.getpid(), module._start_of(os.getpid()))]


def test_tidying_removes_what_the_dead_left_and_nothing_else(tmp_path, dead):
    plant(tmp_path, "dead00000000", **dead)
    plant(tmp_path, "old000000000", machine=ELSEWHERE, age_s=1e4)
    plant(tmp_path, "live00000000")
    abandoned = module.temporary_name("x.json").replace(f"-{os.getpid()}-", f"-{dead['pid']}-")
    (tmp_path / CLAIMS / abandoned).touch()
    (tmp_path / CLAIMS / "gone.0123.end").touch()
    os.utime(tmp_path / CLAIMS / "gone.0123.end", (0, 0))
    Claims(tmp_path).tidy()
    assert files(tmp_path) == ["live00000000.json"]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links(tmp_path, monkeypatch, refusal, dead):
    def link(*_: object) -> None:
        raise OSError(refusal, "no links here")

    monkeypatch.setattr(os, "link", link)
    plant(tmp_path, "dead00000000", **dead)
    with Claims(tmp_path) as ours, Claims(tmp_path) as theirs:
        assert ours.take(KEY) is None
        assert theirs.take(KEY) is not None
        assert theirs.take("dead00000000") is None
    assert not (tmp_path / CLAIMS).exists()


def test_a_link_whose_answer_was_lost_on_the_way_is_ours(tmp_path, monkeypatch):
    real = os.link

    def link(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "asked twice")

    with Claims(tmp_path) as claims:
        monkeypatch.setattr(os, "link", link)
        assert claims.take(KEY) is None
        monkeypatch.setattr(os, "link", real)


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match=f"^store {tmp_path / 'store'}: has a file where a folder must be"):
        Claims(tmp_path / "store").take(KEY)
    with pytest.raises(StoreError), Claims(tmp_path / "store") as claims:
        claims.take(KEY)


RACER = """
import sys, time
from pathlib import Path
from harness.store.claims import Claims
for line in sys.stdin:
    key, start = line.split()
    while time.monotonic() < float(start):  # all start at the same moment, by the clock that they share
        pass
    with Claims(Path(sys.argv[1])) as claims:
        print("lost" if claims.take(key) else "won", flush=True)
        sys.stdin.readline()  # nobody releases before all have tried
    print("out", flush=True)
"""


def test_of_eight_processes_exactly_one_wins_each_round(tmp_path, dead):
    """In odd rounds they race for the claim of a process that is gone."""
    command = [sys.executable, "-c", RACER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    racers = [subprocess.Popen(command, text=True, **pipes) for _ in range(8)]

    def tell(line: str) -> list[str]:
        for racer in racers:
            racer.stdin.write(line)
            racer.stdin.flush()
        return [racer.stdout.readline().strip() for racer in racers]

    for number in range(200):
        if number % 2:
            plant(tmp_path, f"{number:012x}", **dead)
        answers = tell(f"{number:012x} {time.monotonic() + 0.002}\n")
        assert sorted(answers) == ["lost"] * 7 + ["won"], f"round {number}"
        assert tell("\n") == ["out"] * 8
    for racer in racers:
        racer.communicate()
    assert [racer.returncode for racer in racers] == [0] * 8
    assert not (tmp_path / CLAIMS).exists()


def test_a_claim_that_is_gone_before_it_was_read_has_a_holder_of_no_name(tmp_path):
    """`take` says who is at work where a claim changes hands all the time."""
    unknown = module._unknown(KEY, tmp_path / "gone.json")
    assert asdict(unknown) == {
        "key": KEY, "label": "", "host": "an unknown machine", "pid": 0, "since": "an unknown time", "token": "x",
        "machine": "", "started": "",
    }  # fmt: skip


def test_living_claims_are_told_oldest_first(tmp_path):
    plant(tmp_path, "aaaaaaaaaaaa", since="2026-11-23T16:42:02+00:00", label="a")
    plant(tmp_path, "bbbbbbbbbbbb", since="2026-11-23T16:42:01+00:00", label="z")
    plant(tmp_path, "cccccccccccc", since="2026-11-23T16:42:01+00:00", label="y")
    assert [holder.label for holder in Claims(tmp_path).living()] == ["y", "z", "a"]


def test_a_claim_that_is_gone_between_two_looks_is_made_anew(tmp_path, monkeypatch):
    path = plant(tmp_path)
    with Claims(tmp_path) as claims:
        monkeypatch.setattr(claims, "holder", lambda _: path.unlink())  # it was released; and None, for it is free
        assert claims.take(KEY) is None
        assert files(tmp_path) == [f"{KEY}.json"]


@pytest.mark.parametrize("links", [True, False])
def test_colleagues_may_read_and_end_a_claim(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(module.os, "link", refuse)
    old = os.umask(0o002)
    try:
        with Claims(tmp_path) as claims:
            claims.take(KEY)
            assert (tmp_path / CLAIMS / f"{KEY}.json").stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(old)


def test_the_thread_that_renews_keeps_no_process_alive(tmp_path):
    with Claims(tmp_path) as claims:
        claims.take(KEY)
        assert claims._thread is not None
        assert claims._thread.daemon
        assert claims._thread.name == "claims"


def test_a_claim_is_there_whoever_left_it(tmp_path, dead):
    claims = Claims(tmp_path)
    assert not claims.is_there(KEY)
    plant(tmp_path, **dead)
    assert claims.is_there(KEY)
    assert claims.holder(KEY) is None


@pytest.mark.parametrize("change", [{"key": "another00000"}, {"token": "../../x"}, {"host": ["a", "list"]}])
def test_a_claim_that_says_what_none_can_say_has_an_unknown_holder(tmp_path, change):
    path = plant(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    holder = Claims(tmp_path).holder(KEY)
    assert holder is not None
    assert (holder.key, holder.host) == (KEY, "an unknown machine")


def test_the_time_of_a_claim_is_utc(tmp_path):
    with Claims(tmp_path) as ours:
        ours.take(KEY)
        assert ours.living()[0].since.endswith("+00:00")


def test_a_claim_says_when_its_process_started(tmp_path):
    with Claims(tmp_path) as ours:
        ours.take(KEY)
        assert ours.living()[0].started == module._start_of(os.getpid())


def test_a_folder_that_another_process_removed_between_two_looks_is_made_again(tmp_path, monkeypatch):
    real, refusals = os.open, []

    def racing(path: Path, *rest: int) -> int:
        if len(refusals) < module._ATTEMPTS - 1:
            refusals.append(path)
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return real(path, *rest)

    monkeypatch.setattr(module.os, "open", racing)
    with Claims(tmp_path) as claims:
        assert claims.take(KEY) is None
        assert files(tmp_path) == [f"{KEY}.json"]


def test_a_folder_that_cannot_be_kept_is_one_line(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(module.os, "open", refuse)
    with pytest.raises(StoreError, match="cannot be created there"), Claims(tmp_path) as claims:
        claims.take(KEY)


def test_a_beat_that_fails_is_followed_by_the_next(tmp_path, monkeypatch):
    real, refusals = os.utime, []

    def refuse_once(*arguments: object) -> None:
        if not refusals:
            refusals.append(arguments)
            raise OSError(errno.EIO, "Input/output error")
        real(*arguments)

    with Claims(tmp_path, beat_s=0.02) as claims:
        monkeypatch.setattr(module.os, "utime", refuse_once)
        claims.take(KEY)
        path = tmp_path / CLAIMS / f"{KEY}.json"
        real(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert refusals
        assert path.stat().st_mtime > 1


def test_a_claim_needs_no_label_and_a_store_no_folder_yet(tmp_path):
    with Claims(tmp_path / "far" / "store") as claims:
        claims.take(KEY)
        assert [holder.label for holder in claims.living()] == [""]


def test_a_claim_that_changes_hands_all_the_time_is_others(tmp_path, monkeypatch):
    monkeypatch.setattr(Claims, "_create", lambda *_: False)
    monkeypatch.setattr(Claims, "_end", lambda *_: False)
    monkeypatch.setattr(Claims, "holder", lambda *_: None)
    there = Claims(tmp_path).take(KEY)
    assert there is not None
    assert (there.key, there.host) == (KEY, "an unknown machine")


def test_a_claim_that_cannot_be_released_stops_nobody(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Claims(tmp_path) as claims:
        claims.take(KEY)
        monkeypatch.setattr(module.os, "link", refuse)
        claims.release(KEY)
        monkeypatch.undo()


def test_a_living_process_whose_start_cannot_be_told_holds(tmp_path, monkeypatch):
    plant(tmp_path)
    monkeypatch.setattr(module, "_start_of", lambda _: "")
    assert Claims(tmp_path).holder(KEY) is not None


def test_an_age_that_cannot_be_told_ends_no_claim(tmp_path, monkeypatch):
    path = plant(tmp_path, machine=ELSEWHERE, age_s=1e6)
    claims = Claims(tmp_path)
    assert claims.holder(KEY) is None
    assert not claims._is_old(path.with_name("gone.json"))
    real = os.open

    def read_only(name: Path, how: int, *rest: int) -> int:
        if how & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(name, how, *rest)

    monkeypatch.setattr(module.os, "open", read_only)
    assert claims.holder(KEY) is not None


@pytest.mark.parametrize("second", ["another", None])
def test_a_claim_that_became_another_meanwhile_is_not_ended(tmp_path, monkeypatch, dead, second):
    """Between the look that found it over and the mark that gives the right to end it."""
    path = plant(tmp_path, **dead)
    there = module._read(path)
    looks = [there, replace(there, token=second) if second else None]
    monkeypatch.setattr(module, "_read", lambda _: looks.pop(0))
    claims = Claims(tmp_path)
    assert not claims._end(path, b"{}")
    assert looks == []
    assert json.loads(path.read_text()) == asdict(there)
    assert files(tmp_path) == [path.name], "the mark is gone too"


def test_marks_that_others_removed_are_no_error(tmp_path, monkeypatch, dead):
    path = plant(tmp_path, **dead)
    claims = Claims(tmp_path)
    mark = path.with_name(f"{KEY}.{json.loads(path.read_text())['token']}.end")

    def removing(_: object) -> bool:
        mark.unlink()
        return True

    monkeypatch.setattr(claims, "_is_over", removing)
    assert claims._end(path, None)
    mark.touch()
    monkeypatch.setattr(claims, "_is_old", removing)
    claims._remove_if_left(mark)
    assert files(tmp_path) == []


def test_more_than_a_claim_has_is_not_read(tmp_path):
    path = plant(tmp_path)
    path.write_text(" " * 5000 + path.read_text())
    assert "unknown" in str(Claims(tmp_path).holder(KEY))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_the_start_of_a_process_with_an_odd_name(tmp_path):
    (tmp_path / "x) y 1 2").symlink_to(sys.executable)
    process = subprocess.Popen([tmp_path / "x) y 1 2", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 10
        while b"x) y" not in Path(f"/proc/{process.pid}/stat").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert int(module._start_of(process.pid)) >= int(module._start_of(os.getpid())) > 1
    finally:
        process.communicate(b"\n")
    assert module._start_of(process.pid) == ""
