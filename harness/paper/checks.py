"""Checks of sentences against official counts, public facts, the reference list, anomalib's source and configs/."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

from harness.data.catalog import CATALOG
from harness.paper.arithmetic import exact, prints_as, rounded
from harness.paper.audit_numbers import audit_consistency, image_rows
from harness.paper.claims import Context, Outcome, check, verdict_of
from harness.paper.model import ClaimVerdict
from harness.paper.published import PARAMS
from harness.paper.selection import read_config


@check
def images(context: Context, *, dataset: str, part: str, value: int, note: str = "") -> Outcome:
    """A dataset has so many images in `train`, `test`, `all`, or with a mask (`annotated`)."""
    counts = CATALOG[dataset].categories.values()
    train = sum(each.train for each in counts)
    normal = sum(each.test_normal for each in counts)
    annotated = sum(each.test_anomalous for each in counts)
    found = {"train": train, "test": normal + annotated, "all": train + normal + annotated, "annotated": annotated}
    official = f"{train} train; {normal} normal and {annotated} defective test; {found['all']} in all"
    evidence = f"{found[part]}; official counts: {official}"
    return Outcome(verdict_of(found[part] == value), "; ".join(filter(None, (evidence, note))))


@check
def categories(context: Context, *, dataset: str, value: int) -> Outcome:
    """A dataset has so many categories."""
    names = list(CATALOG[dataset].categories)
    return Outcome(verdict_of(len(names) == value), f"{len(names)}: {', '.join(names)}")


@check
def introduced(context: Context, *, dataset: str, by: str, year: int) -> Outcome:
    """A dataset was published by someone in a year."""
    citation = CATALOG[dataset].citation
    return Outcome(verdict_of(by in citation and str(year) in citation), citation)


@check
def evaluated(context: Context, *, dataset: str, count: int, of: int) -> Outcome:
    """The tables evaluate so many of a dataset's so many categories."""
    places = {place.category for cell in context.published.cells for place in cell.places if place.dataset == dataset}
    total = len(CATALOG[dataset].categories)
    holds = (len(places), total) == (count, of)
    return Outcome(verdict_of(holds), f"{len(places)} of {total}: {', '.join(sorted(places))}")


@check
def train_below(context: Context, *, dataset: str, category: str, limit: int, note: str) -> Outcome:
    """A category has fewer than so many training images; beside it those evaluated that really have."""
    n_train = CATALOG[dataset].categories[category].train
    fewer = [
        f"{row.row} {_train_images(context, row.table, row.row)} (image AUROC {row.auroc})"
        for row in image_rows(context.published)
        if _train_images(context, row.table, row.row) < limit and row.table != 2
    ]
    evidence = f"{n_train} official training images; fewer than {limit} have: {', '.join(fewer) or 'none'}; {note}"
    return Outcome(verdict_of(n_train < limit), evidence)


@check
def train_size_explains(context: Context) -> Outcome:
    """How often image AUROC rises with the number of training images, over pairs of categories; and over datasets."""
    rows = [row for row in image_rows(context.published) if row.table != 2]
    pairs = [
        (_train_images(context, a.table, a.row) - _train_images(context, b.table, b.row))
        * (exact(a.auroc) - exact(b.auroc))
        for a, b in combinations(rows, 2)
    ]
    rising, falling = sum(pair > 0 for pair in pairs), sum(pair < 0 for pair in pairs)
    evidence = (
        f"of the {len(pairs)} pairs among {len(rows)} categories image AUROC is higher with more training images in "
        f"{rising} and with fewer in {falling}; means: {_means_by_dataset(context)}; "
        "a cause cannot be read off nine numbers"
    )
    return Outcome(ClaimVerdict.NOT_CHECKED, evidence)


def _means_by_dataset(context: Context) -> str:
    """Mean number of training images and mean image AUROC of each row of Table 5, fewest images first."""
    counts = {1: "MVTec AD", 3: "VisA", 4: "BTAD"}
    found = []
    for table, row in counts.items():
        trained = [
            _train_images(context, table, each.row) for each in image_rows(context.published) if each.table == table
        ]
        found.append((sum(trained) / len(trained), row, context.published.cell(5, row, "Img AUROC").printed))
    return ", ".join(f"{row} {count:.1f} images {auroc}" for count, row, auroc in sorted(found))


def _train_images(context: Context, table: int, row: str) -> int:
    (place,) = context.published.table(table).places[row]
    return CATALOG[place.dataset].categories[place.category].train


@check
def defect_types(context: Context, *, value: int) -> Outcome:
    """MVTec AD has so many types of defects; counted over the archive's folders, whose images must add up."""
    types = context.facts["mvtec_defects"]["types"]
    count = sum(len(each) for each in types.values())
    agreeing = sum(
        sum(types[name].values()) == each.test_anomalous for name, each in CATALOG["mvtec"].categories.items()
    )
    adding_up = f"their images add up to the official count in {agreeing} of {len(types)} categories"
    return Outcome(verdict_of(count == value and agreeing == len(types)), f"{count} folders of defects; {adding_up}")


@check
def no_such_defect(context: Context, *, category: str, words: Sequence[str]) -> Outcome:
    """The prose describes a defect that is none of an MVTec AD category's: false where no type has any of the words."""
    types = context.facts["mvtec_defects"]["types"][category]
    among = [name for name in types if any(word in name for word in words)]
    listed = ", ".join(f"{name} ({count} images)" for name, count in types.items())
    seen = context.facts["seen"].get(category)
    view = f"; seen in the images: {seen['what']}" if seen else ""
    verdict = ClaimVerdict.NOT_CHECKED if among else ClaimVerdict.FALSE
    return Outcome(verdict, f"{category} has the defects {listed}{view}")


@check
def not_in_view(context: Context, *, category: str) -> Outcome:
    """Something the prose sees is not in the category's images, by what was seen in them."""
    seen = context.facts["seen"][category]
    return Outcome(ClaimVerdict.FALSE, f"seen, not computed ({seen['images']}): {seen['what']}")


@check
def visa_types(context: Context, *, category: str, words: Sequence[str], because: str) -> Outcome:
    """What the official defect types of a VisA category say to a description; how frequent each is they do not."""
    types = context.facts["visa_defects"]["types"][category]
    matching = [name for name in types if any(word in name for word in words)]
    listed = f"{', '.join(matching) or 'none'}; all: {', '.join(types)}"
    evidence = f"{len(matching)} of {len(types)} official types name it ({listed}); {because}"
    return Outcome(ClaimVerdict.NOT_CHECKED, evidence)


@check
def prose_citations(context: Context) -> Outcome:
    """Every citation in the prose that names what it cites leads to that entry of the reference list."""
    wrong = [
        f"{section} cites [{number}], {' or '.join(context.subjects[number])}, for {subject}"
        for section, subject, number in context.citations
        if subject not in context.subjects[number]
    ]
    total = len(context.citations)
    evidence = [f"{total - len(wrong)} of {total} lead to what they name", *wrong]
    return Outcome(verdict_of(not wrong), "; ".join(evidence))


@check
def table6_cites(context: Context, *, row: str) -> Outcome:
    """The reference column of Table 6 leads to the method's entry."""
    printed = context.published.table(6).texts[row, "Reference"]
    found = re.search(r"\[(\d+)\]", printed)
    if found is None:
        return Outcome(ClaimVerdict.FALSE, f"{printed}: no number")
    number = int(found[1])
    right = [str(entry) for entry, subjects in context.subjects.items() if row in subjects]
    there = ", ".join(context.subjects[number]) or "something else"
    entry = f"entry {number} of the reference list is {there}"
    elsewhere = f"; {row} is entry {', '.join(right)}" if str(number) not in right else ""
    return Outcome(verdict_of(str(number) in right), entry + elsewhere)


@check
def author(context: Context, *, number: int, printed: str, dataset: str) -> Outcome:
    """A name of the reference list is spelt as the dataset's own publication spells it."""
    citation = CATALOG[dataset].citation
    listed = context.names[number]
    holds = printed in citation and printed in listed
    return Outcome(
        verdict_of(holds), f"the list prints “{listed}”; the publication’s authors: {citation.partition(':')[0]}"
    )


@check
def original(context: Context, *, row: str) -> Outcome:
    """A literature row of Table 6 prints what the method's own authors published, where that is at hand.

    A difference is no error by itself: the caption says that values may come from entry 11 of the reference list.
    """
    facts = context.facts["originals"].get(row)
    if facts is None:
        return Outcome(ClaimVerdict.NOT_CHECKED, "neither the method's own publication nor [11] was at hand")
    pairs = {
        column: (context.published.cell(6, row, column).printed, facts[key])
        for column, key in (("Img AUROC", "img"), ("Pix AUROC", "pix"))
    }
    differing = [f"{column} {here}, the authors {there}" for column, (here, there) in pairs.items() if here != there]
    note = f"; {facts['note']}" if "note" in facts else ""
    if differing:
        return Outcome(
            ClaimVerdict.NOT_CHECKED,
            f"{'; '.join(differing)} ({facts['source']}); [11], its other source, was not at hand",
        )
    return Outcome(ClaimVerdict.TRUE, f"both values as published ({facts['source']}){note}")


@check
def exceeds_on_bottle(context: Context, *, row: str) -> Outcome:
    """One row's image AUROC on bottle is above that of every method listed in Table 6."""
    ours = context.published.cell(6, row, "Img AUROC").printed
    known = context.facts["bottle"]
    reaching = [
        f"{method} has {facts['img']} ({facts['source']})"
        for method, facts in known.items()
        if exact(facts["img"]) >= exact(ours)
    ]
    evidence = (
        f"Table 6 lists means over 15 categories, no bottle value; "
        f"{'; '.join(f'{each}, so that this is a tie at best' for each in reaching) or 'none at hand reaches it'}"
    )
    return Outcome(ClaimVerdict.FALSE if reaching else ClaimVerdict.NOT_CHECKED, evidence)


@check
def f1_maximises(context: Context) -> Outcome:
    """The image F1s of Tables 1 to 4 are F1 at the threshold that maximises it; the single rows are in part c."""
    findings = list(audit_consistency(context.published))

    def rows(kind: str, verdict: ClaimVerdict) -> list[str]:
        found = (each for each in findings if each.identifier.startswith(kind) and each.verdict is verdict)
        return [each.identifier.removeprefix(kind) for each in found]

    tied = rows("f1-max-tied-", ClaimVerdict.FALSE)
    untied = [row for row in rows("f1-max-", ClaimVerdict.FALSE) if not row.startswith("tied-")]
    total = sum(each.identifier.startswith("f1-strict-") for each in findings)
    evidence = (
        f"impossible in {len(untied)} of {total} rows ({', '.join(untied) or 'none'}) where no two images have one "
        f"score, and in {len(tied)} ({', '.join(tied) or 'none'}) even with such ties; what anomalib's F1Score gives "
        f"(score > threshold) explains {len(rows('f1-strict-', ClaimVerdict.TRUE))} of {total}"
    )
    return Outcome(verdict_of(not tied), evidence)


@check
def not_checked(context: Context, *, because: str) -> Outcome:
    """Nothing at hand decides it."""
    return Outcome(ClaimVerdict.NOT_CHECKED, because)


@check
def source(context: Context, *, file: str, finds: Sequence[str], verdict: str, evidence: str) -> Outcome:
    """anomalib's own code does what `evidence` says, shown by every expression of `finds` matching in one of its files.

    Args:
        file: below the installed package, which is read, not imported.
        verdict: of the claim, where the code is as expected.
    """
    text = _anomalib_source(file)
    if text is None:
        return Outcome(ClaimVerdict.NOT_CHECKED, f"anomalib's {file} is not installed here")
    missing = [expression for expression in finds if re.search(expression, text) is None]
    if missing:
        return Outcome(
            ClaimVerdict.NOT_CHECKED, f"anomalib {version('anomalib')}'s {file} has no {missing[0]!r} any more"
        )
    return Outcome(ClaimVerdict(verdict), f"{evidence} (anomalib {version('anomalib')}, {Path(file).name})")


def _anomalib_source(file: str) -> str | None:
    found = importlib.util.find_spec("anomalib")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / file
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _finest(backbone: str) -> tuple[int, int]:
    """Pixels along a side of the network's input, and along a side of one cell of the finest layer's grid."""
    return read_config("protocol/paper")["center_crop"][0], read_config(f"backbone/{backbone}")["reductions"][0]


@check
def grid(context: Context, *, backbone: str, side: int) -> Outcome:
    """The finest layer's grid has so many cells along a side."""
    size, reduction = _finest(backbone)
    return Outcome(verdict_of(size // reduction == side), f"{size} / {reduction} = {size // reduction} along a side")


@check
def original_resolution(context: Context) -> Outcome:
    """Maps have the original images' resolution and extent; anomalib gives them the network input's."""
    resized, cropped = (read_config("protocol/paper")[field][0] for field in ("resize", "center_crop"))
    lost = 100 * (1 - Fraction(cropped, resized) ** 2)
    return source(
        context,
        file="models/image/padim/torch_model.py",
        finds=[r"output_size = input_tensor\.shape\[-2:\]", r"image_size=output_size"],
        verdict="false",
        evidence=(
            f"in anomalib, 1.x and 2.x, maps have the size of the network's input, {cropped}×{cropped}, and section "
            f"5.3 speaks of “224×224 evaluation images”; the centre crop of 3.2 leaves {rounded(lost, 1)} % of each "
            "picture's area without a score"
        ),
    )


@check
def parameters(context: Context, *, row: str) -> Outcome:
    """A backbone of Table 2 has as many parameters as printed."""
    cell = context.published.cell(2, row, PARAMS)
    count = context.parameters[cell.places[0].backbone]
    holds = prints_as(Fraction(count, 10**6), cell.printed)
    return Outcome(
        verdict_of(holds), f"{count:,} parameters up to layer3, counted on the network: {rounded(count / 1e6, 2)} M"
    )


@check
def parameter_ratio(context: Context, *, larger: str, smaller: str, value: str) -> Outcome:
    """One backbone has so many times another's parameters."""
    ratio = Fraction(context.parameters[larger], context.parameters[smaller])
    evidence = f"{context.parameters[larger]:,} / {context.parameters[smaller]:,} = {rounded(ratio, 2)}"
    stored = {name: _gaussian_numbers(name) for name in (larger, smaller)}
    footprint = (
        f"this is the backbone up to layer3; the stored Gaussians are {rounded(stored[smaller] / 1e6, 1)} M against "
        f"{rounded(stored[larger] / 1e6, 1)} M numbers, {rounded(Fraction(stored[larger], stored[smaller]), 1)}-fold"
    )
    return Outcome(verdict_of(prints_as(ratio, value)), f"{evidence}; {footprint}")


def _gaussian_numbers(backbone: str) -> int:
    """Count the numbers of all means and covariances at the kept features of the paper's protocol."""
    size, reduction = _finest(backbone)
    side, kept = size // reduction, read_config("protocol/paper")["n_features"][backbone]
    return int(side**2 * (kept**2 + kept))


@check
def storage(context: Context, *, backbone: str, kept: int) -> Outcome:
    """Keeping so many features makes each covariance matrix smaller."""
    total = sum(read_config(f"backbone/{backbone}")["channels"])
    factor = Fraction(total, kept) ** 2
    return Outcome(
        verdict_of(kept < total), f"{total}² to {kept}² entries a location: {rounded(factor, 0)} times fewer"
    )


@check
def identical_conditions(context: Context, *, backbones: Sequence[str]) -> Outcome:
    """Both backbones ran under the same conditions; the paper states n for one of them only."""
    kept = read_config("protocol/anomalib_v2")["n_features"], read_config("protocol/paper")["n_features"]
    defaults = ", ".join(
        f"{name} {kept[0][name]} of {sum(read_config(f'backbone/{name}')['channels'])}" for name in backbones
    )
    evidence = (
        f"n is stated for {backbones[1]} only ({kept[1][backbones[1]]}); anomalib's defaults are {defaults}, so that "
        "the two rows differ in kept features too unless ResNet-18 ran with 256"
    )
    return Outcome(ClaimVerdict.NOT_CHECKED, evidence)
