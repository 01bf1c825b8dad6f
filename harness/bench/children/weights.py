"""One weights file that both sides read, where the request names none: the network's state, drawn or from a package.

python -m harness.bench.children.weights OUT.safetensors REQUEST ...
"""

from __future__ import annotations

import sys


def main(out: str, *request: str) -> None:
    """Write the tensors of the network that the request means."""
    from safetensors.torch import save_file

    from harness.bench.children.floor import composed
    from harness.padim.backbone import load_timm
    from harness.padim.weights import resolve_weights

    backbone = composed(request).runs[0].backbone
    network = load_timm(backbone, resolve_weights(backbone))
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
