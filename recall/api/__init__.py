"""The HTTP service. `create_app` is all there is to call."""

from recall.api.app import create_app

__all__ = ["create_app"]
