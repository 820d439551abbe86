"""The HTTP service. `create_app` makes it, `running` opens what it needs."""

from recall.api.app import create_app, running

__all__ = ["create_app", "running"]
