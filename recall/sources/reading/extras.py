"""Packages that only one source needs: imported when it is opened, asked for when missing."""

from __future__ import annotations

import importlib
from typing import Any

from recall.contract.errors import SourceUnreadable


def extra(module: str, group: str) -> Any:
    """Return the module, or raise SourceUnreadable that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SourceUnreadable(
            f"This source needs the package {module.split('.')[0]}; "
            f"install it with pip install 'recall[{group}]'."
        ) from error
