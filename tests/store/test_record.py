"""What a record may say, and what it may not."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from harness.config import ProtocolConfig, run_key
from harness.store import METRICS, Failure, Interval, Metrics, Timing, failure_of, new_record
from harness.store.record import LONGEST_MESSAGE
from harness.store.record import PassPlan, ProtocolSpec, RunRecord, Spec
from tests.store.making import VALUES, make_dataset, make_failed, make_ok, make_parts, make_spec


def rebuilt(**changes):
    """An ok record's data with top-level fields changed, validated again."""
    return RunRecord.model_validate(make_ok().model_dump() | changes)


def test_spec_is_kept_to_the_letter():
    spec = make_spec(epsilon=1, mean=(0, 0.5, 1), center_crop=None)
    record = make_ok(spec)
    assert record.spec.model_dump() == spec
    assert repr(record.spec.model_dump()["protocol"]["epsilon"]) == "1"  # 1.0 would have another key
    assert record.key == run_key(spec) == run_key(record.spec.model_dump())


def test_spec_models_every_field_of_run_spec():
    spec = make_spec()
    assert set(Spec.model_fields) == set(spec)
    assert set(ProtocolSpec.model_fields) == set(ProtocolConfig.__dataclass_fields__)


def test_metrics_are_the_contracts():
    assert tuple(Metrics.model_fields) == METRICS
    assert make_ok().values == VALUES


def test_numpy_numbers_become_plain_ones():
    record = make_ok(metrics=Metrics(**(VALUES | {"image_auroc": np.float32(0.7), "pixel_auroc": np.float64(0.7)})))
    assert [type(value) for value in record.values.values()] == [float] * 7
    assert record.metrics.image_auroc == float(np.float32(0.7))


def test_records_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        make_ok().key = "0" * 12  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"key": "0" * 12}, "does not belong to the spec"),
        ({"extra": 1}, "Extra inputs"),
        ({"status": "done"}, "status"),
        ({"synthetic": "no"}, "synthetic"),
        ({"schema_version": 99}, "schema_version"),
        ({"metrics": VALUES | {"image_auroc": 1.0000001}}, "less than or equal to 1"),
        ({"metrics": VALUES | {"image_auroc": float("nan")}}, "finite"),
        ({"metrics": VALUES | {"image_auroc": True}}, "valid number"),
        ({"metrics": VALUES | {"image_auroc": None}}, "has a reason in metrics_absent, but not: image_auroc"),
        ({"metrics_absent": {"pixel_auroc": "no masks"}}, "has a reason in metrics_absent, but not: pixel_auroc"),
        ({"metrics_absent": {"pixel_auroc": "a", "image_auroc": "b"}}, "but not: image_auroc, pixel_auroc "),
        ({"metrics_absent": {"image_acu": "typo"}}, "image_acu"),
        ({"metrics": None}, "needs metrics"),
        ({"memory": None}, "needs memory"),
        ({"memory": None, "indices_sha256": None}, "needs memory, indices_sha256"),
        ({"indices_sha256": None}, "needs indices_sha256"),
        ({"indices_sha256": "AB" * 32}, "indices_sha256"),
        ({"scores_sha256": None}, "needs scores_sha256"),
        ({"error": {"type": "E", "message": "m", "stage": None}}, r"error, an ok record has no error \["),
        ({"intervals": {"image_auc": {"low": 0.1, "high": 0.2, "method": "m"}}}, "belongs to no metric"),
        ({"intervals": {"image_aurocdelong": {"low": 0.1, "high": 0.2, "method": "m"}}}, "belongs to no metric"),
        ({"intervals": {"image_auroc": {"low": 0.2, "high": 0.1, "method": "m"}}}, "is above"),
        ({"thresholds": {"image_f1_max": float("inf")}}, "finite"),
        ({"timing": {"seconds": {"decode": -1.0}, "images_per_second": None}}, "greater than or equal to 0"),
        ({"engine_metrics": {"image_AUROC": 0.5}}, r"error, engine_metrics belong to the reference engine \["),
        ({"started": "2026-11-23 16:42"}, "started"),
        ({"started": "2026-11-23T16:42:00+01:00"}, "started"),
        ({"finished": "2026-02-30T16:42:00Z"}, "finished"),
        ({"protocol_name": "/etc/passwd"}, "absolute path"),
        ({"dataset": make_dataset(make_spec(), notes=["see /etc/passwd"]).model_dump()}, "absolute path"),
        ({"protocol_name": r"C:\Users\me"}, "absolute path"),
        ({"timing": {"seconds": {"see /home/me/x": 1.0}, "images_per_second": None}}, "absolute path"),
    ],
)
def test_what_an_ok_record_may_not_say(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        rebuilt(**changes)


@pytest.mark.parametrize("field", ["fingerprint", "n_train", "n_test_normal", "n_test_anomalous", "has_masks"])
def test_an_ok_record_knows_its_images(field):
    spec = make_spec() | ({"fingerprint": None} if field == "fingerprint" else {})
    with pytest.raises(ValidationError, match=f"needs dataset.{field}"):
        make_ok(spec, dataset=make_dataset(spec, **{field: None}))


def test_without_masks_there_are_no_pixel_metrics():
    spec = make_spec()
    pixels = [name for name in METRICS if name.startswith("pixel")]
    absent = {
        "metrics": Metrics(**(VALUES | dict.fromkeys(pixels))),
        "metrics_absent": dict.fromkeys(pixels, "no masks"),
    }
    without = make_dataset(spec, has_masks=False)
    assert make_ok(spec, dataset=without, intervals={}, **absent).values["pixel_auroc"] is None
    with pytest.raises(ValidationError, match=r"error, there are pixel metrics without masks \["):
        make_ok(spec, dataset=without)
    with pytest.raises(ValidationError, match="interval pixel_auroc belongs to no metric that has a value"):
        make_ok(spec, dataset=without, **absent)


def test_the_spec_holds_no_absolute_path():
    with pytest.raises(ValidationError, match="spec holds an absolute path"):
        make_ok(make_spec(category="/data/bottle"))


def test_dataset_and_spec_agree():
    for changes in ({"name": "visa"}, {"fingerprint": "00" * 32}):
        with pytest.raises(ValidationError, match=r"error, dataset and spec differ in name or fingerprint \["):
            make_ok(make_spec(), dataset=make_dataset(make_spec(), **changes))


def test_a_second_interval_of_a_metric_stands_beside_the_first():
    delong = Interval(low=0.9, high=1.0, method="DeLong")
    assert make_ok(intervals={"image_auroc_delong": delong}).intervals == {"image_auroc_delong": delong}


def test_a_failed_record_knows_as_much_as_there_is():
    early = make_failed(make_spec(fingerprint=None))
    assert (early.status, early.metrics, early.dataset.n_train) == ("failed", None, None)
    late = make_failed(dataset=make_dataset(make_spec()), memory=make_ok().memory, indices_sha256="cd" * 32)
    assert (late.dataset.n_train, late.indices_sha256) == (209, "cd" * 32)


@pytest.mark.parametrize("name", ["metrics", "intervals", "thresholds"])
def test_a_failed_record_has_no_metrics(name):
    with pytest.raises(ValidationError, match=r"error, a failed record has no metrics, intervals or thresholds \["):
        make_failed(**{name: make_parts()[name]})


def test_a_failed_record_needs_an_error():
    with pytest.raises(ValidationError, match=r"error, a failed record needs an error \["):
        RunRecord.model_validate(make_failed().model_dump() | {"error": None})


def test_paths_of_this_machine_are_hidden_in_free_text(tmp_path):
    root = tmp_path / "my data"
    message = f"{root}/bottle/x y.png: is truncated; see '{tmp_path}/log of it.txt' or /var/log/syslog"
    record = make_failed(error=Failure(type="DataError", message=message, stage="decode"), hide={"dataset.root": root})
    assert record.error.message == (
        "<dataset.root>/bottle/x y.png: is truncated; see '<path>/log of it.txt' or <path>/syslog"
    )
    noted = make_ok(dataset=make_dataset(make_spec(), notes=[f"in {root}"]), hide={"dataset.root": root})
    assert noted.dataset.notes == ["in <dataset.root>"]


def test_engine_metrics_belong_to_the_reference_engine():
    told = {"image_AUROC": 0.996032, "pixel_F1Score": float("nan")}
    record = make_ok(make_spec(engine="reference"), engine_metrics=told)
    assert record.engine_metrics == {"image_AUROC": 0.996032, "pixel_F1Score": None}


def test_times_are_utc_to_the_second():
    record = make_ok()
    assert (record.started, record.finished) == ("2026-11-23T16:42:00Z", "2026-11-23T16:42:20Z")
    with pytest.raises(ValueError, match=r"^a record's times need a time zone; use datetime\.now\(UTC\)$"):
        new_record(**make_parts(started=datetime(2026, 11, 23)))


def test_failure_of_any_exception():
    assert failure_of(ValueError("two\nlines"), "fit") == Failure(type="ValueError", message="two lines", stage="fit")
    assert failure_of(MemoryError(), None).message == "MemoryError"
    assert len(failure_of(ValueError("x" * 10**6), None).message) < 2100
    unreadable = OSError(2, "No such file", "caf\udce9.png")
    assert (
        make_failed(error=failure_of(unreadable, "decode")).error.message == r"[Errno 2] No such file: 'caf\udce9.png'"
    )


def test_a_note_may_name_a_file_that_is_no_utf8():
    assert make_ok(dataset=make_dataset(make_spec(), notes=["caf\udce9.png"])).dataset.notes == [r"caf\udce9.png"]


def test_a_records_parts_are_strict():
    with pytest.raises(ValidationError):
        Timing(seconds={"decode": "5"}, images_per_second=None)
    with pytest.raises(ValidationError):
        make_dataset(make_spec(), n_train=209.0)
    assert Path("anywhere").as_posix() not in make_ok().model_dump_json()


def test_what_is_no_text_is_refused_as_such():
    with pytest.raises(ValidationError, match=r"notes\.0\n  Input should be a valid string"):
        make_dataset(make_spec(), notes=[1])


def test_the_plan_of_a_pass_is_kept():
    plan = PassPlan(
        memory_budget_gib=8.0, predicted_rss_bytes=2**30, predicted_device_bytes=None, runs_together=3, moments=1,
        workers=2, judges=1, test_batches_at_once=4,
    )  # fmt: skip
    assert make_ok(plan=plan).plan == plan
    assert make_ok().plan is None


def test_an_interval_may_have_no_width():
    assert Interval(low=0.5, high=0.5, method="m").low == 0.5


@pytest.mark.parametrize(("length", "end"), [(LONGEST_MESSAGE, "x"), (LONGEST_MESSAGE + 1, " …")])
def test_a_message_is_cut_behind_the_longest(length, end):
    message = failure_of(ValueError("x" * length), None).message
    assert message.startswith("x" * LONGEST_MESSAGE)
    assert message[LONGEST_MESSAGE - 1 :] in (end, f"x{end}")


def test_free_text_that_is_no_unicode_is_made_readable_by_the_record_itself():
    assert make_dataset(make_spec(), notes=["caf\udce9"]).notes == [r"caf\udce9"]


def test_times_are_utc_wherever_it_runs(monkeypatch):
    try:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        started = datetime.fromisoformat("2026-11-23T17:00:00+01:00")
        assert make_ok(started=started).started == "2026-11-23T16:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
