"""JupyterHub's notebook server of a user, ready sooner: ``nvlhub-singleuser``, in place of ``jupyterhub-singleuser``."""

from __future__ import annotations

from nvlhub.iri import check_later


def main() -> None:
    """Run the server."""
    check_later()
    from jupyterhub.singleuser import main as run  # noqa: PLC0415  # it imports what is put off

    run()


if __name__ == "__main__":
    main()
