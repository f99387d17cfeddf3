"""nvlhub: a notebook portal in which a GPU belongs to a lease, not to a server."""

__version__ = "0.1.0"
