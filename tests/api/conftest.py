"""The portal and its API, for all tests of routes."""

from tests.api.test_api import api, portal

__all__ = ["api", "portal"]
