"""JupyterHub, ready sooner: ``python -m nvlhub.portal.hub -f …``."""

from __future__ import annotations

from nvlhub.iri import check_later


def main() -> None:
    """Run the hub."""
    check_later()
    from jupyterhub.app import main as run  # noqa: PLC0415  # it imports what is put off

    run()


if __name__ == "__main__":
    main()
