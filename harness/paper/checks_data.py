"""Checks of sentences against the datasets' official counts, public facts, and the paper's own reference list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

from harness.data.catalog import CATALOG, DatasetInfo
from harness.paper.audit_counts import audit_consistency, image_rows
from harness.paper.claims import Check, Context, Outcome, verdict_of
from harness.paper.digits import exact
from harness.paper.model import ClaimVerdict


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


def categories(context: Context, *, dataset: str, value: int) -> Outcome:
    """A dataset has so many categories."""
    names = list(CATALOG[dataset].categories)
    return Outcome(verdict_of(len(names) == value), f"{len(names)}: {', '.join(names)}")


def introduced(context: Context, *, dataset: str, by: str, year: int) -> Outcome:
    """A dataset was published by someone in a year."""
    citation = CATALOG[dataset].citation
    return Outcome(verdict_of(by in citation and str(year) in citation), citation)


def evaluated(context: Context, *, dataset: str, count: int, of: int) -> Outcome:
    """The tables evaluate so many of a dataset's so many categories."""
    places = {place.category for cell in context.published.cells for place in cell.places if place.dataset == dataset}
    total = len(CATALOG[dataset].categories)
    holds = (len(places), total) == (count, of)
    return Outcome(verdict_of(holds), f"{len(places)} of {total}: {', '.join(sorted(places))}")


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


def defect_types(context: Context, *, value: int) -> Outcome:
    """MVTec AD has so many types of defects; counted over the archive's folders, whose images must add up."""
    types = context.facts["mvtec_defects"]["types"]
    count = sum(len(each) for each in types.values())
    agreeing = sum(sum(types[name].values()) == each.test_anomalous for name, each in _mvtec().categories.items())
    adding_up = f"their images add up to the official count in {agreeing} of {len(types)} categories"
    return Outcome(verdict_of(count == value and agreeing == len(types)), f"{count} folders of defects; {adding_up}")


def _mvtec() -> DatasetInfo:
    return CATALOG["mvtec"]


def no_such_defect(context: Context, *, category: str, words: Sequence[str]) -> Outcome:
    """The prose describes a defect that is none of an MVTec AD category's: false where no type has any of the words."""
    types = context.facts["mvtec_defects"]["types"][category]
    among = [name for name in types if any(word in name for word in words)]
    listed = ", ".join(f"{name} ({count} images)" for name, count in types.items())
    seen = context.facts["seen"].get(category)
    view = f"; seen in the images: {seen['what']}" if seen else ""
    verdict = ClaimVerdict.NOT_CHECKED if among else ClaimVerdict.FALSE
    return Outcome(verdict, f"{category} has the defects {listed}{view}")


def not_in_view(context: Context, *, category: str) -> Outcome:
    """Something the prose sees is not in the category's images, by what was seen in them."""
    seen = context.facts["seen"][category]
    return Outcome(ClaimVerdict.FALSE, f"seen, not computed ({seen['images']}): {seen['what']}")


def visa_types(context: Context, *, category: str, words: Sequence[str], because: str) -> Outcome:
    """What the official defect types of a VisA category say to a description; how frequent each is they do not."""
    types = context.facts["visa_defects"]["types"][category]
    matching = [name for name in types if any(word in name for word in words)]
    listed = f"{', '.join(matching) or 'none'}; all: {', '.join(types)}"
    evidence = f"{len(matching)} of {len(types)} official types name it ({listed}); {because}"
    return Outcome(ClaimVerdict.NOT_CHECKED, evidence)


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


def author(context: Context, *, number: int, printed: str, dataset: str) -> Outcome:
    """A name of the reference list is spelt as the dataset's own publication spells it."""
    citation = CATALOG[dataset].citation
    listed = context.names[number]
    holds = printed in citation and printed in listed
    return Outcome(
        verdict_of(holds), f"the list prints “{listed}”; the publication’s authors: {citation.partition(':')[0]}"
    )


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


def not_checked(context: Context, *, because: str) -> Outcome:
    """Nothing at hand decides it."""
    return Outcome(ClaimVerdict.NOT_CHECKED, because)


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            images,
            categories,
            introduced,
            evaluated,
            train_below,
            train_size_explains,
            defect_types,
            no_such_defect,
            not_in_view,
            visa_types,
            prose_citations,
            table6_cites,
            author,
            original,
            exceeds_on_bottle,
            f1_maximises,
            not_checked,
        )
    }
)
