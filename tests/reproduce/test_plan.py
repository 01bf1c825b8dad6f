"""The plan: exactly the runs of Tables 1 to 4, and sweeps that mean exactly those whose images are there."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.config.experiment import expand
from harness.config.overrides import parse, quote
from harness.reproduce.plan import (
    Presence,
    Request,
    after_download,
    downloads,
    look,
    make_plan,
    needed_categories,
    needed_runs,
)
from tests.drawing import draw_btad_category, draw_mvtec_category, draw_visa_category
from tests.papers.making import PUBLISHED, failed, run
from tests.report.stores import PLACES
from tests.store.making import patient

ALL = needed_categories(PUBLISHED)
NEEDED = {(one.dataset, one.category, one.backbone) for one in needed_runs(PUBLISHED, [42])}


def present(*categories):
    return Presence(frozenset(categories), {where: "gone" for where in ALL if where not in categories})


def plan_of(presence, records=(), **changes):
    request = Request(
        **({"paper": PUBLISHED, "data_root": Path("data"), "store": Path("out"), "seeds": (42,)} | changes)
    )
    return make_plan(request, presence, records)


def meant(calls):
    """Every (dataset, category, backbone, seeds) that the calls' command lines mean, as the harness reads them."""
    jobs = []
    for call in calls:
        own, _ = parse([quote(argument) for argument in call])
        jobs += [(j["dataset"], j["category"], j["backbone"], tuple(j["seeds"])) for j in expand(own)]
    return jobs


def test_the_runs_are_those_that_the_papers_places_need():
    assert {(place.dataset, place.category, place.backbone) for place in PLACES} == NEEDED
    assert len(needed_runs(PUBLISHED, [42])) == 10
    assert len(needed_runs(PUBLISHED, [0, 1, 42])) == 30
    assert {
        one.demands["model.n_features"] for one in needed_runs(PUBLISHED, [0]) if one.backbone == "wide_resnet50_2"
    } == {256}


@patient
@given(
    categories=st.sets(st.sampled_from(ALL), min_size=1),
    by_hand=st.sets(st.sampled_from(["resnet18", "wide_resnet50_2"])),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    same_file=st.booleans(),
)
def test_the_sweeps_mean_each_run_whose_images_are_there_once(categories, by_hand, seeds, same_file):
    weights = {name: "/w.safetensors" if same_file else f"/{name}.safetensors" for name in by_hand}
    plan = plan_of(present(*categories), seeds=tuple(seeds), weights=weights)
    jobs = meant(plan.calls)
    wanted = {(*where, tuple(seeds)) for where in NEEDED if where[:2] in categories}
    assert sorted(jobs) == sorted(wanted)
    assert len(wanted) * len(seeds) == len(plan.to_do)


def test_one_sweep_does_for_a_dataset_with_timms_weights():
    calls = plan_of(present(*ALL), launcher="joblib", device="cuda").calls
    assert len(calls) == 3
    for call in calls:
        assert {"launcher=joblib", "device=cuda"} <= set(call)
        assert not [argument for argument in call if argument.startswith("backbone.weights")]
    assert not [argument for argument in plan_of(present(*ALL)).calls[0] if "launcher" in argument]


def test_weights_by_hand_reach_their_backbone_alone():
    calls = plan_of(present(*ALL), weights={"wide_resnet50_2": "w, x=1.safetensors"}).calls
    with_weights = [call for call in calls if "backbone.weights=w, x=1.safetensors" in call]
    assert {job[2] for job in meant(with_weights)} == {"wide_resnet50_2"}
    assert {job[2] for job in meant([call for call in calls if call not in with_weights])} == {"resnet18"}


def test_done_failed_and_otherwise_made_runs_are_told_apart():
    bottle, cable = PLACES[0], PLACES[1]
    records = [run(bottle, seed=0), failed(bottle, seed=1), run(cable, seed=0, epsilon=0.5)]
    plan = plan_of(present(("mvtec", "bottle"), ("mvtec", "cable")), records, seeds=(0, 1))
    assert [state.run.identity for state in plan.done] == [("mvtec", "bottle", "resnet18", 0)]
    to_do = {state.run.identity for state in plan.to_do}
    assert ("mvtec", "bottle", "resnet18", 1) in to_do, "a failed run is done again"
    assert ("mvtec", "cable", "resnet18", 0) in to_do, "a run with another epsilon is not this run"
    assert len(plan.states) == 20


def test_a_run_that_is_done_stays_done_without_its_images():
    assert [state.run.category for state in plan_of(present(("btad", "01")), [run(PLACES[0])]).done] == ["bottle"]


def test_a_dataset_is_downloaded_only_as_a_whole_and_then_nothing_of_it_is_missing():
    presence = present(("mvtec", "bottle"))
    assert downloads(presence) == ("visa", "btad")
    assert downloads(present(*ALL)) == ()
    later = after_download(presence, downloads(presence))
    assert {dataset for dataset, _ in later.missing} == {"mvtec"}
    assert later.there | set(later.missing) == set(ALL)


def test_what_is_there_is_found_in_every_layout_and_the_rest_is_one_line_a_dataset(tmp_path):
    lines = look(tmp_path, ALL).missing_lines()
    assert [line.split(":")[0] for line in lines] == ["mvtec", "visa", "btad"]
    draw_mvtec_category(tmp_path / "mvtec" / "bottle")
    draw_visa_category(tmp_path / "visa", "candle")
    draw_btad_category(tmp_path / "btad" / "BTech_Dataset_transformed" / "01")
    presence = look(tmp_path, ALL)
    assert presence.there == {("mvtec", "bottle"), ("visa", "candle"), ("btad", "01")}
    assert set(presence.missing) == set(ALL) - presence.there
    lines = presence.missing_lines()
    assert [line.split(":")[0] for line in lines] == ["mvtec/cable, hazelnut", "visa/pcb1, cashew", "btad/02, 03"]
    assert all("what needs it is not run" in line and "\n" not in line for line in lines)
    (tmp_path / "visa" / "split_csv" / "1cls.csv").unlink()
    assert "split_csv/1cls.csv" in look(tmp_path, [("visa", "candle")]).missing["visa", "candle"]
