"""Where things lie: the checkout, the configuration files, and results unless a request says otherwise."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path, user_data_path

_APP = "vad-harness"
PROJECT = Path(__file__).resolve().parents[1]
"""The checkout; in an installed harness the folder that holds the package."""
_IS_CHECKOUT = (PROJECT / "configs").is_dir()
CONFIGS = PROJECT / "configs" if _IS_CHECKOUT else Path(__file__).resolve().parent / "configs"
"""In a wheel the configuration files lie inside the package."""
_DATA = PROJECT if _IS_CHECKOUT else user_data_path(_APP, appauthor=False)
DEFAULT_STORE = _DATA / "results"
SYNTHETIC_STORE = _DATA / "smoke"
"""Where runs on drawn images go: never beside real ones."""
CACHE = user_cache_path(_APP, appauthor=False)
