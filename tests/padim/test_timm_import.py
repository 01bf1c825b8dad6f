"""timm without torch's compiler: what is deferred comes when it is called, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

FIRST = """
import sys
def compiler(): return sorted(name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor")))
def is_real(name): return sys.modules[name].__spec__ is not None and bool(sys.modules[name].__file__)
"""


def fresh(code: str) -> None:
    """Run it in a process of its own, since a module is imported once."""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", FIRST + code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("backbone", ["RESNET18", "WIDE_RESNET50", "LITE0"])
def test_a_network_is_loaded_and_passed_without_the_compiler(backbone):
    fresh(f"""
import torch
from harness.padim import backbone as loading
from harness.padim.weights import resolve_weights
from harness.padim.fusing import quickened
from tests.padim import sources
weights = resolve_weights(sources.{backbone})
network = loading.load_timm(sources.{backbone}, weights)
with torch.device("cpu"):
    loading._build(sources.{backbone}, "meta")
in_arithmetic(quickened(network), "bf16")(torch.zeros(1, 3, 64, 64))
assert compiler() == [], compiler()
import timm
assert timm.create_model is sys.modules["timm.models"].create_model
""")


def test_what_is_deferred_is_the_real_thing_once_it_is_called():
    fresh("""
from harness.padim.timm_import import import_timm
timm = import_timm()
import torch
roi_align = sys.modules["torchvision.ops.roi_align"]
assert compiler() == []
deferred = roi_align.is_compile_supported
found = [deferred(device) for device in ("cpu", "cuda")]
assert is_real("torch._dynamo") and is_real("torch._dynamo.utils")
assert found == [torch._dynamo.utils.is_compile_supported(device) for device in ("cpu", "cuda")]
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
assert roi_align.roi_align(torch.ones(1, 1, 8, 8), boxes, 2).tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]
""")


def test_a_function_that_must_not_be_compiled_still_computes_and_is_left_alone():
    fresh("""
from harness.padim.timm_import import _compiler_deferred
import torch
with _compiler_deferred():
    @torch.compiler.disable
    def seen(x):
        "Doubles."
        calls.append(torch.compiler.is_compiling())
        return 2 * x
assert seen.__doc__ == "Doubles." and compiler() == []
calls = []
assert seen(torch.ones(2)).tolist() == [2.0, 2.0]
assert is_real("torch._dynamo")
compiled = torch.compile(lambda x: seen(x) + 1, backend="eager")
assert compiled(torch.ones(2)).tolist() == [3.0, 3.0]
assert calls == [False, False]
""")


@pytest.mark.parametrize(
    "asked",
    [
        "torch._dynamo.reset()",
        "torch._dynamo.config.cache_size_limit",
        "import torch._dynamo.eval_frame; torch._dynamo.eval_frame.innermost_fn",
        "from torch._dynamo import utils; utils.counters",
        "from torch._dynamo.utils import counters",
        "torch.compiler.disable(torch.nn.Linear(1, 1))(torch.ones(1))",
        "torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1))",
    ],
)
def test_whatever_else_is_asked_for_meanwhile_is_the_real_compilers(asked):
    fresh(f"""
from harness.padim.timm_import import _compiler_deferred
import torch
with _compiler_deferred():
    {asked}
    assert is_real("torch._dynamo"), sys.modules["torch._dynamo"]
assert is_real("torch._dynamo")
torch._dynamo.reset()
""")


def test_nothing_is_deferred_that_is_there_already_and_an_error_leaves_nothing():
    fresh("""
import torch, torch._dynamo
before = torch._dynamo
from harness.padim.timm_import import _compiler_deferred, import_timm
with _compiler_deferred():
    assert sys.modules["torch._dynamo"] is before
assert import_timm() is sys.modules["timm"] and sys.modules["torch._dynamo"] is before
""")
    fresh("""
from harness.padim.timm_import import _compiler_deferred
try:
    with _compiler_deferred():
        1 / 0
except ZeroDivisionError:
    pass
assert compiler() == []
import torch
torch._dynamo.reset()
""")
