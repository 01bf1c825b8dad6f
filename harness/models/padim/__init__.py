"""PaDiM: anomalib's model, fitted in one stream for many runs, and anomalib's own Engine as the oracle."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness.config.settings import STRICT, WHOLE, ModelConfig, Option, Positive, RunConfig, Whole
from harness.errors import RequestError
from harness.models.base import Model, ModelPlan, Scores, Task

if TYPE_CHECKING:
    from harness.data.loader import SplitSource
    from harness.execution.monitor import Monitor
    from harness.models.padim.plan import PadimPlan
    from harness.models.weights import Weights


@dataclass(frozen=True, config=STRICT)
class PadimConfig(ModelConfig):
    """PaDiM's settings. All of them fold; the later in this list the first one that differs, the more runs share."""

    n_features: Annotated[Whole, Option(f"{WHOLE}, or a list of these", folds=True)]
    """How many feature channels are kept. Left out: the protocol's number for the backbone."""
    index_sampler: Annotated[Literal["anomalib_v1", "anomalib_v2"], Option(folds=True)]
    """How the kept feature channels are drawn."""
    epsilon: Annotated[Positive, Option("a number above 0", folds=True)]
    """Added to the diagonal of every covariance. anomalib 2.x in effect adds 0.01001, 1.x added 0.01."""
    blur_sigma: Annotated[int, Field(ge=0, le=1000), Option("a whole number from 0 (no blur) to 1000", folds=True)]
    """The sigma, in pixels, of the Gaussian that smooths the anomaly map."""


class Padim(Model):
    """PaDiM as the harness runs it."""

    settings = PadimConfig
    engines = ("streaming", "reference")
    lower = ("model.n_features",)

    def check(self, run: RunConfig) -> None:
        """Refuse more features than channels, a blur that reaches too far, and what anomalib's Engine cannot do."""
        from harness.models.padim.engine import check_blur, check_reference

        settings, backbone = _settings(run), run.backbone
        if settings.n_features > backbone.n_channels:
            raise RequestError(
                f"model.n_features={settings.n_features}: {backbone.name} has {backbone.n_channels} channels in "
                f"{', '.join(backbone.layers)}; allowed: 1 to {backbone.n_channels}"
            )
        check_blur(settings.blur_sigma, run.preprocessing.input_size)
        if run.engine == "reference":
            check_reference(settings.blur_sigma)

    def versions(self, run: RunConfig) -> Mapping[str, str] | None:
        """Return timm's and torch's versions where the draw of channels depends on them."""
        from harness.models.padim.engine import index_versions

        return index_versions(_settings(run).index_sampler)

    def plan(
        self, task: Task, runs: Sequence[RunConfig], budget: int, device_memory: int | None
    ) -> list[tuple[slice, ModelPlan]]:
        """Divide runs into as few passes as memory allows; `engine=reference` shares nothing."""
        from harness.models.padim.plan import plan_passes, plan_reference

        counts = [_settings(run).n_features for run in runs]
        if runs[0].engine == "reference":
            return [(slice(n, n + 1), plan_reference(task, count)) for n, count in enumerate(counts)]
        draws = [_variant(run).draw for run in runs]
        return list(plan_passes(task, counts, budget, device_memory, draws=draws))

    def scores(
        self, source: SplitSource, runs: Sequence[RunConfig], weights: Weights, plan: ModelPlan, monitor: Monitor
    ) -> Generator[Scores]:
        """Score all runs from one pass over the images; by anomalib's own Engine where the runs ask for it."""
        from harness.models.padim.engine import Work

        first = runs[0]
        work = Work(
            backbone=first.backbone,
            weights=weights,
            preprocessing=first.preprocessing,
            variants=tuple(map(_variant, runs)),
            device=first.device,
            plan=cast("PadimPlan", plan),
        )
        if first.engine == "reference":
            from harness.models.padim.reference import run_reference

            return run_reference(source, work, monitor)
        from harness.models.padim.streaming import run_streaming

        return run_streaming(source, work, monitor)


def _settings(run: RunConfig) -> PadimConfig:
    assert isinstance(run.model, PadimConfig)
    return run.model


def _variant(run: RunConfig) -> Any:
    from harness.models.padim.engine import Draw, Variant

    settings = _settings(run)
    draw = Draw(run.seed, settings.n_features, settings.index_sampler)
    return Variant(draw, settings.epsilon, settings.blur_sigma)


MODEL = Padim()
