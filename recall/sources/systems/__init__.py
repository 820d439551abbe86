"""The systems that recall reads: each folder here declares in its `__init__` what it is."""

from __future__ import annotations

import importlib
import pkgutil

from recall.sources.system import System


def systems() -> dict[str, System]:
    """Return every declared system by its name, in alphabetical order."""
    declared = [
        value
        for folder in pkgutil.iter_modules(__path__, f"{__name__}.")
        for value in vars(importlib.import_module(folder.name)).values()
        if isinstance(value, System)
    ]
    return {system.name: system for system in sorted(declared, key=lambda system: system.name)}
