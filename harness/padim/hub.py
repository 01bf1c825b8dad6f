"""timm's pretrained weights: which file of the model hub they are, found in the cache or downloaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import RequestError

FILENAMES = ("model.safetensors", "pytorch_model.bin")
"""In the order in which timm asks for them (`timm.models._hub.load_state_dict_from_hf`)."""


def repository(architecture: str, tag: str) -> str:
    """Return the hub's repository of a pretrained timm model; this is what timm's `hf_hub_id="timm/"` stands for.

    Spelled out here, so that a run that is already in the store is recognised without importing timm and torch.
    """
    return f"timm/{architecture}.{tag}"


def pretrained_file(architecture: str, tag: str) -> Path:
    """Return the local path of the file that timm would load, downloading it if need be.

    The hub is asked for its current version first, as timm does; where it cannot be reached (or HF_HUB_OFFLINE is set),
    the cached version is taken.

    Raises:
        RequestError: neither the hub nor the cache has it, or the download broke off.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError

    repo = repository(architecture, tag)
    with _quiet():
        for filename in FILENAMES:
            try:
                # One try. hf_hub_download itself would retry for half a minute for each file.
                get_hf_file_metadata(hf_hub_url(repo, filename))
            except RemoteEntryNotFoundError:
                continue
            except Exception as error:  # The hub's client has changed its HTTP library, and so its errors, before.
                cached = _cached(repo)
                if cached:
                    return cached
                raise _unavailable(repo, error) from error
            try:
                return Path(hf_hub_download(repo, filename))
            except Exception as error:
                raise _unavailable(repo, error) from error
    raise RequestError(f"backbone.weights=timm: the hub's {repo} has neither {' nor '.join(FILENAMES)}; {_BY_HAND}")


_BY_HAND = "give the weights by hand with backbone.weights=PATH.safetensors (or .pth)"


def _cached(repo: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for filename in FILENAMES:
        path = try_to_load_from_cache(repo, filename)
        if isinstance(path, str):
            return Path(path)
    return None


def _unavailable(repo: str, error: Exception) -> RequestError:
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    if isinstance(error, RepositoryNotFoundError):
        return RequestError(f"backbone.weights=timm: the model hub has no {repo}; {_BY_HAND}")
    if isinstance(error, OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE is set and the cache does not hold it"
    else:
        why = f"the model hub cannot be reached or broke off ({type(error).__name__})"
    return RequestError(f"backbone.weights=timm: {repo} is not to be had, {why}; {_BY_HAND}")


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the hub's client: what matters in them becomes our one line."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
