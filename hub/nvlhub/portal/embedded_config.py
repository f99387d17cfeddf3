"""Read by JupyterHub under ``nvlhub up``."""

from nvlhub.portal.embedded import embed

embed(get_config())  # type: ignore[name-defined]  # noqa: F821  # JupyterHub defines it for configuration files
