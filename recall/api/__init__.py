"""The HTTP service. `create_app` makes it, `running` opens what it needs.

`Connection` is what speaks to a caller below it: give it to uvicorn as `http`.
"""

from recall.api.app import create_app, running
from recall.api.connection import Connection

__all__ = ["Connection", "create_app", "running"]
