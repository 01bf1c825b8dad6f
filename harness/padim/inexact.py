"""Faster arithmetic for the network's pass, at the price of digits: TF32 on a GPU, bfloat16 there or on the CPU.

Only the network computes with it, and only its products: features come out as float32 again, and moments, factors,
distances and maps stay exact. The mode is in a run's key, and no table of the paper takes such a run.
"""

from __future__ import annotations

from typing import Any


def in_arithmetic(network: Any, mode: str | None) -> Any:
    """Return a function from images to features like `network`'s, computed in that mode.

    Args:
        network: takes images (B, 3, H, W) float32 and gives a list of features (B, C, h, w); `bf16` converts it in
            place.
        mode: `tf32` multiplies with 10 bits of mantissa and adds in float32 (the GPU's tensor cores); `bf16` keeps
            weights and features in bfloat16, with 7 bits; None is the network itself.
    """
    import torch

    if mode is None:
        return network
    if mode == "bf16":
        converted = network.to(torch.bfloat16)
        return lambda images: converted(images.to(torch.bfloat16))

    def in_tf32(images: torch.Tensor) -> Any:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.allow_tf32, matmul.allow_tf32
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        try:
            return network(images)
        finally:
            cudnn.allow_tf32, matmul.allow_tf32 = before

    return in_tf32
