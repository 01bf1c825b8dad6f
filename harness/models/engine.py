"""A model of anomalib fitted and tested by anomalib's own Engine, on our split, with its raw scores recorded."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partialmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from harness.errors import RequestError
from harness.models.compute import silence

with silence():
    from anomalib.engine import Engine
    from lightning.pytorch import Callback

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

    from harness.data.loader import SplitSource
    from harness.execution.monitor import Monitor


def fit_and_test(
    model: AnomalibModule, source: SplitSource, device: str, monitor: Monitor, **trainer: Any
) -> tuple[Recorder, dict[str, float]]:
    """Return what the test gave, raw, and anomalib's own metrics, by anomalib's names.

    Stages: `fit` (anomalib's validation pass over the test images included, which comes once, at the end), `prepare`
    where the model counts something by a bar of its own, `score`. Nothing is left in any folder.

    Args:
        trainer: further arguments of Lightning's Trainer; what the model itself asks for wins.

    Raises:
        RequestError: nothing says how many epochs the model trains.
    """
    epochs = {**trainer, **model.trainer_arguments}.get("max_epochs")
    if epochs is None:
        raise RequestError(
            f"model.trainer.max_epochs: is not given, and anomalib's {model.name} has no default; give a whole number"
        )
    recorder, datamodule = Recorder(), source.datamodule()
    with TemporaryDirectory() as folder, _Stages(monitor) as stages, _bars_as_stages(stages):
        # Barebones is the only way to have no checkpoint: enable_checkpointing=False is refused by anomalib's own.
        engine = Engine(
            callbacks=[recorder],
            default_root_dir=Path(folder),
            barebones=True,
            accelerator="gpu" if device == "cuda" else "cpu",
            check_val_every_n_epoch=epochs,
            **trainer,
        )
        recorder.advance = stages.advance
        stages.begin("fit", epochs * source.n_train + source.n_test)
        engine.fit(model=model, datamodule=datamodule)
        stages.begin("score", source.n_test)
        printed = engine.test(model=model, datamodule=datamodule, verbose=False)
    if recorder.paths != list(datamodule.test_data.samples["image_path"]):
        raise RuntimeError("anomalib's Engine did not test the images in the order of its dataset")
    return recorder, {name: float(value) for name, value in printed[0].items() if value is not None}


class _Stages(ExitStack):
    """A monitor's stages one after the other, begun in the middle of a library's call."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__()
        self._monitor = monitor

    def begin(self, name: str, total: int | None) -> None:
        self.close()
        self.name, self.left = name, total
        self._advance = self.enter_context(self._monitor.stage(name, total))

    def advance(self, images: int) -> None:
        if self.left is not None:
            self.left -= images
        self._advance(images)


@contextmanager
def _bars_as_stages(stages: _Stages) -> Iterator[None]:
    """Make a stage `prepare` of each bar that a model draws by tqdm; nothing of it reaches the terminal."""

    def count(bar: tqdm[Any]) -> Iterator[Any]:
        name, left = stages.name, stages.left
        stages.begin("prepare", bar.total)
        for item in bar.iterable:
            yield item
            stages.advance(1)
        stages.begin(name, left)

    silent = partialmethod(tqdm.__init__, disable=True)
    with patch.object(tqdm, "__init__", silent), patch.object(tqdm, "__iter__", count):
        yield


class Recorder(Callback):
    """Raw test outputs in the order of the test loader."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.scores: list[np.ndarray] = []
        self.maps: list[np.ndarray | None] = []
        self.advance: Callable[[int], None] = lambda _: None

    def on_train_batch_end(self, _trainer: Any, _module: Any, _outputs: Any, batch: Any, _index: int) -> None:
        """Count training images."""
        self.advance(len(batch.image))

    def on_validation_batch_end(
        self, _trainer: Any, _module: Any, _outputs: Any, batch: Any, _index: int, _loader: int = 0
    ) -> None:
        """Count the validation pass's images."""
        self.advance(len(batch.image))

    def on_test_batch_end(
        self, _trainer: Any, _module: Any, outputs: Any, _batch: Any, _index: int, _loader: int = 0
    ) -> None:
        """Keep what the model gave."""
        self.paths += outputs.image_path
        self.scores.append(outputs.pred_score.flatten().cpu().numpy().astype(np.float64))
        maps = outputs.anomaly_map
        self.maps.append(None if maps is None else maps.squeeze(1).cpu().numpy().astype(np.float32))
        self.advance(len(outputs.image_path))


@contextmanager
def own_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C again: Lightning makes SystemExit(1) of it and ignores every further one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
