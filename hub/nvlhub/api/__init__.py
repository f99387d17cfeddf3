"""HTTP in, desk or registry, HTTP out; one module of routes per noun."""

from nvlhub.api.app import make_app
from nvlhub.api.doors import Doors, lang_of
from nvlhub.api.problems import answer

__all__ = ["Doors", "answer", "lang_of", "make_app"]
