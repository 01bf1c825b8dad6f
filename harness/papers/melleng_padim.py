"""Checks of claims that only the paper `melleng_padim` makes: against its tables, public facts, and configs/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from harness.config.keys import protocol_settings
from harness.data.catalog import CATALOG
from harness.papers.arithmetic import prints_as, rounded
from harness.papers.audit_numbers import audit_consistency, image_rows
from harness.papers.checks import source
from harness.papers.model import Checked, ClaimVerdict
from harness.papers.published import Published
from harness.papers.reading import load_parameters
from harness.papers.selection import read_config


def train_below(published: Published, *, dataset: str, category: str, limit: int, note: str) -> Checked:
    """Check that a category has fewer than so many training images; list the evaluated ones that really have."""
    n_train = CATALOG[dataset].categories[category].train
    rows = [row for row in image_rows(published) if row.table != 2 and row.n_train < limit]
    fewer = ", ".join(f"{row.row} {row.n_train} (image AUROC {row.auroc})" for row in rows) or "none"
    return n_train < limit, f"{n_train} official training images; fewer than {limit} have: {fewer}; {note}"


def train_size_explains(published: Published) -> Checked:
    """Count pairs of categories whose image AUROC rises with the number of training images; list datasets, too."""
    rows = [row for row in image_rows(published) if row.table != 2]
    pairs = [(a.n_train - b.n_train) * (Fraction(a.auroc) - Fraction(b.auroc)) for a, b in combinations(rows, 2)]
    rising, falling = sum(pair > 0 for pair in pairs), sum(pair < 0 for pair in pairs)
    means = []
    for table, dataset in ((1, "MVTec AD"), (3, "VisA"), (4, "BTAD")):
        trained = [row.n_train for row in rows if row.table == table]
        auroc = published.cell(5, dataset, "Img AUROC").printed
        means.append((sum(trained) / len(trained), f"{dataset} {sum(trained) / len(trained):.1f} images {auroc}"))
    return None, (
        f"of the {len(pairs)} pairs among {len(rows)} categories image AUROC is higher with more training images in "
        f"{rising} and with fewer in {falling}; means: {', '.join(text for _, text in sorted(means))}; "
        "a cause cannot be read off nine numbers"
    )


def defect_types(published: Published, *, value: int) -> Checked:
    """Check that MVTec AD has so many types of defects, by the archive's folders, whose images must add up."""
    types = published.facts["mvtec_defects"]["types"]
    count = sum(len(each) for each in types.values())
    agreeing = sum(
        sum(types[name].values()) == each.test_anomalous for name, each in CATALOG["mvtec"].categories.items()
    )
    adding_up = f"their images add up to the official count in {agreeing} of {len(types)} categories"
    return count == value and agreeing == len(types), f"{count} folders of defects; {adding_up}"


def no_such_defect(published: Published, *, category: str, words: Sequence[str]) -> Checked:
    """Call a described defect false where no type of an MVTec AD category has any of the words; else decide nothing."""
    types = published.facts["mvtec_defects"]["types"][category]
    found = any(word in name for name in types for word in words)
    listed = ", ".join(f"{name} ({count} images)" for name, count in types.items())
    evidence = f"{category} has the defects {listed}; seen in the images: {published.facts['seen'][category]['what']}"
    return None if found else False, evidence


def not_in_view(published: Published, *, category: str) -> Checked:
    """Call false what the prose sees and the category's images do not show, by what was seen in them."""
    seen = published.facts["seen"][category]
    return False, f"seen, not computed ({seen['images']}): {seen['what']}"


def visa_types(published: Published, *, category: str, words: Sequence[str], because: str) -> Checked:
    """List the official defect types of a VisA category that fit a description; none says how frequent it is."""
    types = published.facts["visa_defects"]["types"][category]
    matching = [name for name in types if any(word in name for word in words)]
    listed = f"{', '.join(matching) or 'none'}; all: {', '.join(types)}"
    return None, f"{len(matching)} of {len(types)} official types name it ({listed}); {because}"


def table6_cites(published: Published, *, row: str) -> Checked:
    """Check that the reference column of Table 6 leads to the method's entry."""
    number = int(re.findall(r"\[(\d+)\]", published.table(6).row(row).texts["Reference"])[0])
    right = [entry for entry, subjects in published.subjects.items() if row in subjects]
    there = ", ".join(published.subjects[number]) or "something else"
    elsewhere = f"; {row} is entry {', '.join(map(str, right))}" if number not in right else ""
    return number in right, f"entry {number} of the reference list is {there}{elsewhere}"


def original(published: Published, *, row: str) -> Checked:
    """Check that a literature row of Table 6 prints what the method's own authors published, where that is at hand.

    A difference is no error by itself: the caption says that values may come from entry 11 of the reference list.
    """
    facts = published.facts["originals"].get(row)
    if facts is None:
        return None, "neither the method's own publication nor [11] was at hand"
    differing = []
    for column, key in (("Img AUROC", "img"), ("Pix AUROC", "pix")):
        here = published.cell(6, row, column).printed
        if here != facts[key]:
            differing.append(f"{column} {here}, the authors {facts[key]}")
    if differing:
        return None, f"{'; '.join(differing)} ({facts['source']}); [11], its other source, was not at hand"
    note = f"; {facts['note']}" if "note" in facts else ""
    return True, f"both values as published ({facts['source']}){note}"


def baselines(published: Published, *, count: int) -> Checked:
    """Check that Table 6 lists so many methods from the literature."""
    table = published.table(6)
    methods = [row for row in table.names if not published.places(6, row)]
    return len(methods) == count, f"{len(methods)}: {', '.join(methods)}"


def exceeds_on_category(published: Published, *, row: str, category: str) -> Checked:
    """Check that one row's image AUROC on a category is above that of every method listed in Table 6."""
    ours = published.cell(6, row, "Img AUROC").printed
    reaching = [
        f"{method} has {facts['img']} ({facts['source']}), so that this is a tie at best"
        for method, facts in published.facts[category].items()
        if Fraction(facts["img"]) >= Fraction(ours)
    ]
    listed = "; ".join(reaching) or "none at hand reaches it"
    return False if reaching else None, f"Table 6 lists means over 15 categories, no {category} value; {listed}"


def f1_maximises(published: Published) -> Checked:
    """Check that image F1s of Tables 1 to 4 are F1 at the threshold that maximises it; single rows are in part c."""
    verdicts = {each.identifier: each.verdict for each in audit_consistency(published)}
    rows = [name.removeprefix("f1-strict-") for name in verdicts if name.startswith("f1-strict-")]
    tied = [row for row in rows if verdicts[f"f1-max-tied-{row}"] is ClaimVerdict.FALSE]
    untied = [row for row in rows if verdicts[f"f1-max-{row}"] is ClaimVerdict.FALSE]
    explained = sum(verdicts[f"f1-strict-{row}"] is ClaimVerdict.TRUE for row in rows)
    return not tied, (
        f"impossible in {len(untied)} of {len(rows)} rows ({', '.join(untied) or 'none'}) where no two images have one "
        f"score, and in {len(tied)} ({', '.join(tied) or 'none'}) even with such ties; what anomalib's F1Score gives "
        f"(score > threshold) explains {explained} of {len(rows)}"
    )


def grid(published: Published, *, backbone: str, side: int) -> Checked:
    """Check that the finest layer's grid has so many cells along a side."""
    size, reduction = _finest(backbone)
    return size // reduction == side, f"{size} / {reduction} = {size // reduction} along a side"


def original_resolution(published: Published) -> Checked:
    """Check that maps have the original images' resolution and extent; anomalib gives them the network input's."""
    resized, cropped = (_stated(f"preprocessing.{field}")[0] for field in ("resize", "center_crop"))
    lost = 100 * (1 - Fraction(cropped, resized) ** 2)
    return source(
        published,
        file="models/image/padim/torch_model.py",
        finds=[r"output_size = input_tensor\.shape\[-2:\]", r"image_size=output_size"],
        verdict="false",
        evidence=(
            f"in anomalib, 1.x and 2.x, maps have the size of the network's input, {cropped}×{cropped}, and section "
            f"5.3 speaks of “224×224 evaluation images”; the centre crop of 3.2 leaves {rounded(lost, 1)} % of each "
            "picture's area without a score"
        ),
    )


def parameters(published: Published, *, row: str) -> Checked:
    """Check that a backbone of Table 2 has as many parameters as printed."""
    cell = published.cell(2, row, "Params (M)")
    count = load_parameters()[cell.places[0].backbone]
    evidence = f"{count:,} parameters up to layer3, counted on the network: {rounded(count / 1e6, 2)} M"
    return prints_as(Fraction(count, 10**6), cell.printed), evidence


def parameter_ratio(published: Published, *, larger: str, smaller: str, value: str) -> Checked:
    """Check that one backbone has so many times another's parameters."""
    more, less = load_parameters()[larger], load_parameters()[smaller]
    ratio = Fraction(more, less)
    stored = {name: _gaussian_numbers(name) for name in (larger, smaller)}
    return prints_as(ratio, value), (
        f"{more:,} / {less:,} = {rounded(ratio, 2)}; "
        f"this is the backbone up to layer3; the stored Gaussians are {rounded(stored[smaller] / 1e6, 1)} M against "
        f"{rounded(stored[larger] / 1e6, 1)} M numbers, {rounded(Fraction(stored[larger], stored[smaller]), 1)}-fold"
    )


def storage(published: Published, *, backbone: str, kept: int) -> Checked:
    """Check that keeping so many features makes each covariance matrix smaller."""
    total = sum(read_config(f"backbone/{backbone}")["channels"])
    factor = rounded(Fraction(total, kept) ** 2, 0)
    return kept < total, f"{total}² to {kept}² entries a location: {factor} times fewer"


def _stated(key: str, backbone: str = "") -> Any:
    """Return a setting of the paper's protocol."""
    return protocol_settings("paper", model="padim", backbone=backbone)[key]


def _finest(backbone: str) -> tuple[int, int]:
    """Return pixels along a side of the network's input, and along a side of one cell of the finest layer's grid."""
    return _stated("preprocessing.center_crop")[0], read_config(f"backbone/{backbone}")["reductions"][0]


def _gaussian_numbers(backbone: str) -> int:
    """Count the numbers of all means and covariances at the kept features of the paper's protocol."""
    size, reduction = _finest(backbone)
    side, kept = size // reduction, _stated("model.n_features", backbone)
    return int(side**2 * (kept**2 + kept))
