"""The paper's titles and row names, with an edition's own datasets and backbones where it has others."""

from __future__ import annotations

from harness.paper.model import Edition
from harness.paper.published import Published
from harness.report.facts import BACKBONE_NAMES, DATASET_NAMES, protocol_facts
from harness.report.parameters import parameter_counts

_SHORT = {"wide_resnet50_2": "WRN-50-2"}
"""How the paper shortens a backbone's name."""


def row_name(published: Published, table: int, row: str, edition: Edition) -> str:
    """A row's name in an edition; Table 2's holds the parameter count, which is computed and not the paper's."""
    if table == 2:
        return _backbone_row(published, row, edition)
    return in_edition(row, edition)


def table_title(published: Published, table: int, edition: Edition) -> str:
    """`Table n.` and the paper's title; Table 6 is about the literature's MVTec AD in every edition."""
    title = in_edition(published.table(table).title, edition, datasets=table != 6)
    if not edition.synthetic:
        return f"Table {table}. {title}"
    drawn = " The PaDiM rows are of drawn images." if table == 6 else ""
    return f"SYNTHETIC (drawn images). Table {table}. {title}{drawn}"


def in_edition(text: str, edition: Edition, *, datasets: bool = True) -> str:
    """The paper's words, with what the edition puts in place of the paper's datasets and backbones."""
    for ours, theirs in edition.backbones.items():
        if ours != theirs:
            text = text.replace(BACKBONE_NAMES[ours], BACKBONE_NAMES[theirs])
            text = text.replace(_SHORT.get(ours, BACKBONE_NAMES[ours]), BACKBONE_NAMES[theirs])
    for ours, theirs in edition.datasets.items() if datasets else ():
        if ours != theirs:
            text = text.replace(DATASET_NAMES[ours], DATASET_NAMES[theirs])
    return text


def _backbone_row(published: Published, row: str, edition: Edition) -> str:
    """As the paper writes it: `ResNet-18 (2.8 M params)`, `Wide-ResNet-50-2, n = 256 (24.9 M)`."""
    first = row == published.table(2).rows[0]
    backbone = edition.backbones[published.table(2).places[row][0].backbone]
    millions = f"{parameter_counts()[backbone].parameters / 1e6:.1f} M"
    name = BACKBONE_NAMES[backbone]
    if first:
        return f"{name} ({millions} params)"
    kept = next(one.n_features for one in protocol_facts(edition).backbones if one.name == name)
    return f"{name}, n = {kept} ({millions})"
