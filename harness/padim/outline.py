"""Networks made on torch's meta device: names and shapes, and no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_numbers() -> Iterator[None]:
    """Whatever is made inside lies on the meta device, and its initialisation draws nothing.

    torch carries out a draw there in Python, and imports its compiler for it, which takes longer than all else.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    draws = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.bernoulli_)

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            # All functions of that module fill the tensor that they are given.
            if func in draws or getattr(func, "__module__", None) == torch.nn.init.__name__:
                return args[0] if args else named["tensor"]
            return func(*args, **named)

    with torch.device("meta"), Undrawn():
        yield
