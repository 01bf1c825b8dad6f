"""A weights file, read without running anything in it, and fitted to the network that it is for."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN_NAMES = 4
"""Tensors that an error names before it says how many more there are."""


def read_tensors(path: Path, label: str) -> dict[str, Tensor]:
    """Return every named tensor of a weights file; nothing in the file is executed.

    A checkpoint's own wrappings are taken off: an outer `state_dict` or `model`, and DataParallel's `module.`.
    """
    import torch
    from safetensors.torch import load_file

    from harness.padim.isolation import silence

    _refuse_packed(path, label)
    try:
        with silence():
            content = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except Exception as error:  # Whatever a damaged or hostile file makes of the reader.
        raise RequestError(
            f"backbone.weights: {label} is damaged, or not a file of nothing but tensors "
            f"({type(error).__name__}); save a state dict as .safetensors, or download the file again"
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    tensors = (
        {str(name).removeprefix("module."): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise RequestError(f"backbone.weights: {label} holds no named tensors; a state dict is expected")
    return tensors


def _refuse_packed(path: Path, label: str) -> None:
    """Refuse a checkpoint whose tensors are compressed: torch never does so, and a small file could fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception as error:  # Names that are no UTF-8, a newer version: zipfile has an exception for each.
        raise RequestError(f"backbone.weights: {label} is damaged ({error}); download the file again") from error
    if packed or unpacked > path.stat().st_size:
        raise RequestError(f"backbone.weights: {label} is compressed; save it again by torch.save or as .safetensors")


def fitting_state(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    """Return a copy for each tensor of the network, of its type; what the file holds besides is left out."""
    import torch

    state, missing, odd, misshapen, not_finite = {}, [], [], [], []
    for name, current in wanted.items():
        # timm flattens a network's first level: its stages_0.x is stages.0.x in the file.
        tensor = given.get(name, given.get(name.replace("_", ".", 1)))
        if tensor is None:
            # Counts training steps; nothing reads it in eval mode, and many files leave it out.
            if name.endswith("num_batches_tracked"):
                state[name] = torch.zeros((), dtype=current.dtype)
            else:
                missing.append(name)
        elif not _is_plain(tensor) and not name.endswith("num_batches_tracked"):
            odd.append(f"{name} is {'meta' if tensor.is_meta else tensor.layout}, {tensor.dtype}".replace("torch.", ""))
        elif tensor.shape != current.shape:
            misshapen.append(f"{name} is {list(tensor.shape)}, not {list(current.shape)}")
        elif not bool(tensor.isfinite().all()):
            not_finite.append(name)
        else:
            state[name] = tensor.to(current.dtype, copy=True, memory_format=torch.contiguous_format)
    for trouble, names in (
        ("lacks", missing),
        ("holds no plain floating-point tensors:", odd),
        ("is of another network:", misshapen),
        ("has a NaN or an infinity in", not_finite),
    ):
        if names:
            more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
            raise RequestError(f"backbone.weights: {label} {trouble} {', '.join(names[:_SHOWN_NAMES])}{more}")
    return state


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that can be copied as they are: no sparse, quantised, complex or empty shell."""
    import torch

    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return tensor.layout == torch.strided and not tensor.is_meta and tensor.dtype in dtypes
