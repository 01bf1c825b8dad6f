"""Checks of sentences against official counts, public facts, the reference list, anomalib's source and configs/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import distribution, version
from itertools import combinations
from pathlib import Path
from typing import Any

from harness.config.keys import protocol_settings
from harness.data.catalog import CATALOG
from harness.papers.arithmetic import prints_as, rounded
from harness.papers.audit_numbers import audit_consistency, image_rows
from harness.papers.model import MODEL, ClaimVerdict, Outcome
from harness.papers.published import PARAMS, Context
from harness.papers.selection import read_config


def images(context: Context, *, dataset: str, part: str, value: int, note: str = "") -> Outcome:
    """Check that a dataset has so many images in `train`, `test`, `all`, or with a mask (`annotated`)."""
    counts = CATALOG[dataset].categories.values()
    train = sum(each.train for each in counts)
    normal = sum(each.test_normal for each in counts)
    annotated = sum(each.test_anomalous for each in counts)
    found = {"train": train, "test": normal + annotated, "all": train + normal + annotated, "annotated": annotated}
    official = f"{train} train; {normal} normal and {annotated} defective test; {found['all']} in all"
    evidence = f"{found[part]}; official counts: {official}"
    return found[part] == value, f"{evidence}; {note}" if note else evidence


def categories(context: Context, *, dataset: str, value: int) -> Outcome:
    """Check that a dataset has so many categories."""
    names = list(CATALOG[dataset].categories)
    return len(names) == value, f"{len(names)}: {', '.join(names)}"


def introduced(context: Context, *, dataset: str, by: str, year: int) -> Outcome:
    """Check that a dataset was published by someone in a year."""
    citation = CATALOG[dataset].citation
    return by in citation and str(year) in citation, citation


def evaluated(context: Context, *, dataset: str, count: int, of: int) -> Outcome:
    """Check that the tables evaluate so many of a dataset's so many categories."""
    places = {place.category for cell in context.published.cells for place in cell.places if place.dataset == dataset}
    total = len(CATALOG[dataset].categories)
    return (len(places), total) == (count, of), f"{len(places)} of {total}: {', '.join(sorted(places))}"


def train_below(context: Context, *, dataset: str, category: str, limit: int, note: str) -> Outcome:
    """Check that a category has fewer than so many training images; list the evaluated ones that really have."""
    n_train = CATALOG[dataset].categories[category].train
    rows = [row for row in image_rows(context.published) if row.table != 2 and row.n_train < limit]
    fewer = ", ".join(f"{row.row} {row.n_train} (image AUROC {row.auroc})" for row in rows) or "none"
    return n_train < limit, f"{n_train} official training images; fewer than {limit} have: {fewer}; {note}"


def train_size_explains(context: Context) -> Outcome:
    """Count pairs of categories whose image AUROC rises with the number of training images; list datasets, too."""
    rows = [row for row in image_rows(context.published) if row.table != 2]
    pairs = [(a.n_train - b.n_train) * (Fraction(a.auroc) - Fraction(b.auroc)) for a, b in combinations(rows, 2)]
    rising, falling = sum(pair > 0 for pair in pairs), sum(pair < 0 for pair in pairs)
    means = []
    for table, dataset in ((1, "MVTec AD"), (3, "VisA"), (4, "BTAD")):
        trained = [row.n_train for row in rows if row.table == table]
        auroc = context.published.cell(5, dataset, "Img AUROC").printed
        means.append((sum(trained) / len(trained), f"{dataset} {sum(trained) / len(trained):.1f} images {auroc}"))
    return None, (
        f"of the {len(pairs)} pairs among {len(rows)} categories image AUROC is higher with more training images in "
        f"{rising} and with fewer in {falling}; means: {', '.join(text for _, text in sorted(means))}; "
        "a cause cannot be read off nine numbers"
    )


def defect_types(context: Context, *, value: int) -> Outcome:
    """Check that MVTec AD has so many types of defects, by the archive's folders, whose images must add up."""
    types = context.facts["mvtec_defects"]["types"]
    count = sum(len(each) for each in types.values())
    agreeing = sum(
        sum(types[name].values()) == each.test_anomalous for name, each in CATALOG["mvtec"].categories.items()
    )
    adding_up = f"their images add up to the official count in {agreeing} of {len(types)} categories"
    return count == value and agreeing == len(types), f"{count} folders of defects; {adding_up}"


def no_such_defect(context: Context, *, category: str, words: Sequence[str]) -> Outcome:
    """Call a described defect false where no type of an MVTec AD category has any of the words; else decide nothing."""
    types = context.facts["mvtec_defects"]["types"][category]
    found = any(word in name for name in types for word in words)
    listed = ", ".join(f"{name} ({count} images)" for name, count in types.items())
    evidence = f"{category} has the defects {listed}; seen in the images: {context.facts['seen'][category]['what']}"
    return None if found else False, evidence


def not_in_view(context: Context, *, category: str) -> Outcome:
    """Call false what the prose sees and the category's images do not show, by what was seen in them."""
    seen = context.facts["seen"][category]
    return False, f"seen, not computed ({seen['images']}): {seen['what']}"


def visa_types(context: Context, *, category: str, words: Sequence[str], because: str) -> Outcome:
    """List the official defect types of a VisA category that fit a description; none says how frequent it is."""
    types = context.facts["visa_defects"]["types"][category]
    matching = [name for name in types if any(word in name for word in words)]
    listed = f"{', '.join(matching) or 'none'}; all: {', '.join(types)}"
    return None, f"{len(matching)} of {len(types)} official types name it ({listed}); {because}"


def prose_citations(context: Context) -> Outcome:
    """Check that every citation in the prose that names what it cites leads to that entry of the reference list."""
    wrong = [
        f"{section} cites [{number}], {' or '.join(context.subjects[number])}, for {subject}"
        for section, subject, number in context.citations
        if subject not in context.subjects[number]
    ]
    total = len(context.citations)
    return not wrong, "; ".join([f"{total - len(wrong)} of {total} lead to what they name", *wrong])


def table6_cites(context: Context, *, row: str) -> Outcome:
    """Check that the reference column of Table 6 leads to the method's entry."""
    number = int(re.findall(r"\[(\d+)\]", context.published.table(6).texts[row, "Reference"])[0])
    right = [entry for entry, subjects in context.subjects.items() if row in subjects]
    there = ", ".join(context.subjects[number]) or "something else"
    elsewhere = f"; {row} is entry {', '.join(map(str, right))}" if number not in right else ""
    return number in right, f"entry {number} of the reference list is {there}{elsewhere}"


def author(context: Context, *, number: int, printed: str, dataset: str) -> Outcome:
    """Check that a name of the reference list is spelt as the dataset's own publication spells it."""
    citation, listed = CATALOG[dataset].citation, context.names[number]
    evidence = f"the list prints “{listed}”; the publication’s authors: {citation.partition(':')[0]}"
    return printed in citation and printed in listed, evidence


def original(context: Context, *, row: str) -> Outcome:
    """Check that a literature row of Table 6 prints what the method's own authors published, where that is at hand.

    A difference is no error by itself: the caption says that values may come from entry 11 of the reference list.
    """
    facts = context.facts["originals"].get(row)
    if facts is None:
        return None, "neither the method's own publication nor [11] was at hand"
    differing = []
    for column, key in (("Img AUROC", "img"), ("Pix AUROC", "pix")):
        here = context.published.cell(6, row, column).printed
        if here != facts[key]:
            differing.append(f"{column} {here}, the authors {facts[key]}")
    if differing:
        return None, f"{'; '.join(differing)} ({facts['source']}); [11], its other source, was not at hand"
    note = f"; {facts['note']}" if "note" in facts else ""
    return True, f"both values as published ({facts['source']}){note}"


def exceeds_on_bottle(context: Context, *, row: str) -> Outcome:
    """Check that one row's image AUROC on bottle is above that of every method listed in Table 6."""
    ours = context.published.cell(6, row, "Img AUROC").printed
    reaching = [
        f"{method} has {facts['img']} ({facts['source']}), so that this is a tie at best"
        for method, facts in context.facts["bottle"].items()
        if Fraction(facts["img"]) >= Fraction(ours)
    ]
    listed = "; ".join(reaching) or "none at hand reaches it"
    return False if reaching else None, f"Table 6 lists means over 15 categories, no bottle value; {listed}"


def f1_maximises(context: Context) -> Outcome:
    """Check that image F1s of Tables 1 to 4 are F1 at the threshold that maximises it; single rows are in part c."""
    verdicts = {each.identifier: each.verdict for each in audit_consistency(context.published)}
    rows = [name.removeprefix("f1-strict-") for name in verdicts if name.startswith("f1-strict-")]
    tied = [row for row in rows if verdicts[f"f1-max-tied-{row}"] is ClaimVerdict.FALSE]
    untied = [row for row in rows if verdicts[f"f1-max-{row}"] is ClaimVerdict.FALSE]
    explained = sum(verdicts[f"f1-strict-{row}"] is ClaimVerdict.TRUE for row in rows)
    return not tied, (
        f"impossible in {len(untied)} of {len(rows)} rows ({', '.join(untied) or 'none'}) where no two images have one "
        f"score, and in {len(tied)} ({', '.join(tied) or 'none'}) even with such ties; what anomalib's F1Score gives "
        f"(score > threshold) explains {explained} of {len(rows)}"
    )


def not_checked(context: Context, *, because: str) -> Outcome:
    """Leave a claim open: nothing at hand decides it."""
    return None, because


def source(context: Context, *, file: str, finds: Sequence[str], verdict: str, evidence: str) -> Outcome:
    """Check that anomalib's own code does what `evidence` says: each expression of `finds` matches in one of its files.

    Args:
        file: below the installed package, which is read, not imported.
        verdict: of the claim, where the code is as expected: `true`, `false` or anything else.
    """
    text = _anomalib_source(file)
    missing = [expression for expression in finds if re.search(expression, text) is None]
    if missing:
        return None, f"anomalib {version('anomalib')}'s {file} has no {missing[0]!r} any more"
    holds = {"true": True, "false": False}.get(verdict)
    return holds, f"{evidence} (anomalib {version('anomalib')}, {Path(file).name})"


def _anomalib_source(file: str) -> str:
    path = Path(str(distribution("anomalib").locate_file("anomalib"))) / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def grid(context: Context, *, backbone: str, side: int) -> Outcome:
    """Check that the finest layer's grid has so many cells along a side."""
    size, reduction = _finest(backbone)
    return size // reduction == side, f"{size} / {reduction} = {size // reduction} along a side"


def original_resolution(context: Context) -> Outcome:
    """Check that maps have the original images' resolution and extent; anomalib gives them the network input's."""
    resized, cropped = (_stated(f"preprocessing.{field}")[0] for field in ("resize", "center_crop"))
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


def parameters(context: Context, *, row: str) -> Outcome:
    """Check that a backbone of Table 2 has as many parameters as printed."""
    cell = context.published.cell(2, row, PARAMS)
    count = context.parameters[cell.places[0].backbone]
    evidence = f"{count:,} parameters up to layer3, counted on the network: {rounded(count / 1e6, 2)} M"
    return prints_as(Fraction(count, 10**6), cell.printed), evidence


def parameter_ratio(context: Context, *, larger: str, smaller: str, value: str) -> Outcome:
    """Check that one backbone has so many times another's parameters."""
    more, less = context.parameters[larger], context.parameters[smaller]
    ratio = Fraction(more, less)
    stored = {name: _gaussian_numbers(name) for name in (larger, smaller)}
    return prints_as(ratio, value), (
        f"{more:,} / {less:,} = {rounded(ratio, 2)}; "
        f"this is the backbone up to layer3; the stored Gaussians are {rounded(stored[smaller] / 1e6, 1)} M against "
        f"{rounded(stored[larger] / 1e6, 1)} M numbers, {rounded(Fraction(stored[larger], stored[smaller]), 1)}-fold"
    )


def storage(context: Context, *, backbone: str, kept: int) -> Outcome:
    """Check that keeping so many features makes each covariance matrix smaller."""
    total = sum(read_config(f"backbone/{backbone}")["channels"])
    factor = rounded(Fraction(total, kept) ** 2, 0)
    return kept < total, f"{total}² to {kept}² entries a location: {factor} times fewer"


def _stated(key: str, backbone: str = "") -> Any:
    """Return a setting of the paper's protocol."""
    return protocol_settings("paper", model=MODEL, backbone=backbone)[key]


def _finest(backbone: str) -> tuple[int, int]:
    """Return pixels along a side of the network's input, and along a side of one cell of the finest layer's grid."""
    return _stated("preprocessing.center_crop")[0], read_config(f"backbone/{backbone}")["reductions"][0]


def _gaussian_numbers(backbone: str) -> int:
    """Count the numbers of all means and covariances at the kept features of the paper's protocol."""
    size, reduction = _finest(backbone)
    side, kept = size // reduction, _stated("model.n_features", backbone)
    return int(side**2 * (kept**2 + kept))
