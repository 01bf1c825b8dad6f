"""Hydra's door to the harness's sweep: composes jobs; all that decides anything is in `harness.execution.sweep`.

Hydra takes sweepers only from a package named `hydra_plugins`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from harness.execution.monitor import Outcome


class GridSweeper(BasicSweeper):
    """The union of an experiment's grids, or the product of the command line's values, as a list of jobs."""

    def sweep(self, arguments: list[str]) -> tuple[Outcome, ...]:
        """Carry out what the arguments ask for, and return how each run ended."""
        from harness.execution.sweep import (  # Hydra scans this module for every command, help included
            carry_out,
            requested,
        )

        return carry_out(requested(arguments, compose=self._compose))

    def _compose(self, overrides: Sequence[str]) -> tuple[DictConfig, str]:
        """Compose a job's configuration; return it, and which protocol file it began with."""
        assert self.hydra_context is not None, "Hydra calls setup before sweep"
        assert self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        protocol_name = str(config.hydra.runtime.choices.protocol)
        return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), protocol_name


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="grid",
    node={"_target_": "hydra_plugins.grid_sweeper.GridSweeper", "max_batch_size": None},
    provider="harness",
)
