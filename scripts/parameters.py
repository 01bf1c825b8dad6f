"""Count the backbones' parameters up to the last layer that PaDiM reads, into results/paper/parameters.csv.

Tables and figures read that file, since they must not need torch. Run this again where a backbone is added.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from harness.command import one_line_errors, run_script
from harness.config import BackboneConfig
from harness.keys import group_options
from harness.paper.published import PARAMETERS
from harness.report.output import write_output
from harness.resolve import read_backbone
from harness.store.files import csv_text


def _count(backbone: BackboneConfig) -> int:
    from harness.padim.backbone import load_network
    from harness.padim.weights import Weights

    network = load_network(backbone, Weights("random", "", None, "random"))
    return sum(parameter.numel() for parameter in network.parameters())


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 where the file cannot be written."""
    argparse.ArgumentParser(prog="scripts/parameters.py", description=__doc__).parse_args(argv)
    how = f"numel of all parameters of the network that the harness runs, timm {version('timm')}"
    rows = []
    for name in group_options("backbone"):
        backbone = read_backbone(name)
        rows.append((name, backbone.architecture, " ".join(backbone.layers), _count(backbone), how))
    header = ("backbone", "architecture", "layers", "parameters", "how")
    write_output(PARAMETERS, csv_text(header, rows).encode())
    print(f"{len(rows)} backbones written to {PARAMETERS.name}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
