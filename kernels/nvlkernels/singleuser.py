"""JupyterHub's notebook server of a user, ready and gone sooner: ``nvlhub-singleuser``, in place of ``jupyterhub-singleuser``."""

from __future__ import annotations

import asyncio

from nvlhub.iri import check_later

FINISHING = 2.0
"""Seconds for which what was cut off may take to end."""


def main() -> None:
    """Run the server."""
    check_later()
    from jupyterhub.singleuser import main as run  # noqa: PLC0415  # it imports what is put off

    run()
    finish()


def finish() -> None:
    """Cancel what the end of the event loop has cut off, e.g. a page that waits for its kernel.

    AnyIO ends a worker thread with the task that it was made for, and a process waits for its threads.
    """
    from tornado.ioloop import IOLoop  # noqa: PLC0415  # loaded by now

    ended = IOLoop.current(instance=False)
    loop = getattr(ended, "asyncio_loop", None)
    if loop is None or loop.is_closed():
        return
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=FINISHING))


if __name__ == "__main__":
    main()
