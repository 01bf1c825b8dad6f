"""The plan: exactly the runs of Tables 1 to 4, and sweeps that mean exactly those whose images are there."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.experiment import expand
from harness.overrides import parse, quote
from harness.padim.sizes import GIB
from harness.reproduce.costs import Pace, load_costs
from harness.reproduce.plan import (
    Request,
    after_download,
    downloads,
    make_plan,
    needed_categories,
    needed_runs,
)
from harness.reproduce.presence import Presence
from harness.resolve import default_memory_budget
from tests.paper.making import failed, run
from tests.report.stores import PLACES
from tests.store.making import patient

COSTS = load_costs()
ALL = needed_categories()
NEEDED = {(one.dataset, one.category, one.backbone) for one in needed_runs([42])}


def present(*categories):
    return Presence(dict.fromkeys(categories), {where: "gone" for where in ALL if where not in categories})


def plan_of(presence, records=(), **changes):
    request = Request(**({"data_root": Path("data"), "store": Path("out"), "seeds": (42,)} | changes))
    return make_plan(request, presence, records, COSTS, Pace(0.5, "a test"), device="cpu", n_cores=2)


def meant(calls):
    """Every (dataset, category, backbone, seeds) that the calls' command lines mean, as the harness reads them."""
    jobs = []
    for call in calls:
        own, _ = parse([quote(argument) for argument in call.arguments])
        jobs += [(j["dataset"], j["category"], j["backbone"], tuple(j["seeds"])) for j in expand(own)]
    return jobs


def test_the_runs_are_those_that_the_papers_places_need():
    assert {(place.dataset, place.category, place.backbone) for place in PLACES} == NEEDED
    assert len(needed_runs([42])) == 10
    assert len(needed_runs([0, 1, 42])) == 30
    assert {one.demands["n_features"] for one in needed_runs([0]) if one.backbone == "wide_resnet50_2"} == {256}


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
    assert sum(call.n_runs for call in plan.calls) == len(wanted) * len(seeds) == len(plan.to_do)


def test_one_sweep_does_for_everything_with_timms_weights():
    plan = plan_of(present(*ALL), launcher="joblib", device="cuda")
    (call,) = plan.calls
    assert "launcher=joblib" in call.arguments
    assert "device=cuda" in call.arguments
    assert not [argument for argument in call.arguments if argument.startswith("backbone.weights")]
    assert not [argument for argument in plan_of(present(*ALL)).calls[0].arguments if "launcher" in argument]


def test_weights_by_hand_reach_their_backbone_alone():
    calls = plan_of(present(*ALL), weights={"wide_resnet50_2": "w, x=1.safetensors"}).calls
    with_weights = [call for call in calls if "backbone.weights=w, x=1.safetensors" in call.arguments]
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
    assert len(plan.done) + len(plan.to_do) + len(plan.without_data) == 20


def test_a_run_that_is_done_stays_done_without_its_images():
    plan = plan_of(present(("btad", "01")), [run(PLACES[0])])
    assert [state.run.category for state in plan.done] == ["bottle"]
    assert all(state.run.category != "bottle" or state.run.backbone != "resnet18" for state in plan.without_data)


def test_the_estimate_is_of_what_is_left():
    everything = plan_of(present(*ALL)).estimate
    records = [run(place) for place in PLACES[1:]]
    one = plan_of(present(*ALL), records).estimate
    assert everything.seconds > one.seconds > 0
    assert one.store_bytes == COSTS.store_bytes
    assert one.weights_bytes == COSTS.backbone["resnet18"].weights_bytes
    assert plan_of(present(*ALL), [run(place) for place in PLACES]).estimate.seconds == 0
    by_hand = plan_of(present(*ALL), records, weights={"resnet18": "/w.pth"}).estimate
    assert by_hand.weights_bytes == 0


def test_more_seeds_take_more_memory_only_up_to_the_budget():
    peaks = [plan_of(present(*ALL), seeds=tuple(range(n))).estimate.peak_bytes for n in (1, 3, 10, 60)]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[1]
    assert peaks[-1] <= default_memory_budget() * GIB
    assert plan_of(present(*ALL), [run(place) for place in PLACES]).estimate.peak_bytes == 0


def test_a_dataset_is_offered_for_download_only_as_a_whole():
    wanted = downloads(present(("mvtec", "bottle")), COSTS)
    assert [one.dataset for one in wanted] == ["visa", "btad"]
    assert wanted[0].archive_bytes == 1_929_840_640
    assert wanted[1].unpacked_bytes > 5 * wanted[1].archive_bytes
    assert downloads(present(*ALL), COSTS) == ()


def test_after_the_download_nothing_of_it_is_missing():
    presence = present(("mvtec", "bottle"))
    later = after_download(presence, downloads(presence, COSTS))
    assert {dataset for dataset, _ in later.missing} == {"mvtec"}
    assert set(later.there) | set(later.missing) == set(ALL)
