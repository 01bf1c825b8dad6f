"""Count each backbone's parameters up to the last layer that PaDiM reads; write results/parameters.csv.

Tables and figures read that file, because they must not need torch. Run this again after adding a backbone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from harness.cli.command import Parser, one_line_errors, run_script
from harness.config.keys import group_options
from harness.config.resolve import read_backbone
from harness.papers.reading import PARAMETERS
from harness.report.output import write_output
from harness.store.files import csv_text


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    Parser(description=__doc__).parse_args(argv)
    from harness.models.backbone import load_network
    from harness.models.weights import Weights

    how = f"numel of all parameters of the network that the harness runs, timm {version('timm')}"
    rows = []
    for backbone in map(read_backbone, group_options("backbone")):
        network = load_network(backbone, Weights("random", "", None, "random"))
        count = sum(parameter.numel() for parameter in network.parameters())
        rows.append((backbone.name, backbone.architecture, " ".join(backbone.layers), count, how))
    header = ("backbone", "architecture", "layers", "parameters", "how")
    write_output(PARAMETERS, csv_text(header, rows).encode())
    print(f"{len(rows)} backbones written to {PARAMETERS.name}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
