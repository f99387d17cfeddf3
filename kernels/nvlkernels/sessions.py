"""Sessions: which notebook uses which kernel, so that JupyterLab finds it by path, also after a crash of its server."""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.services.sessions.sessionmanager import SessionManager

from nvlkernels.kept import Session, shelf
from nvlkernels.manager import LeaseKernelManager
from nvlkernels.provisioner import HELD


class LeaseSessionManager(SessionManager):
    """Writes the sessions of kernels with a lease down beside them."""

    async def save_session(self, session_id: str, **facts: Any) -> Any:
        """Record a session."""
        told = await super().save_session(session_id, **facts)
        self._write_down()
        return told

    async def update_session(self, session_id: str, **facts: Any) -> None:
        """Change one: a notebook was renamed, or got another kernel."""
        await super().update_session(session_id, **facts)
        self._write_down()

    def _write_down(self) -> None:
        rows = self.cursor.execute("SELECT session_id, path, name, type, kernel_id FROM session").fetchall()
        for kernel_id, provisioner in HELD.items():
            of_kernel = [row for row in rows if row["kernel_id"] == str(kernel_id)]
            provisioner.opened_by(
                tuple(
                    Session(
                        id=row["session_id"], path=row["path"] or "", name=row["name"] or "", type=row["type"] or ""
                    )
                    for row in of_kernel
                )
            )


async def take_back(kernels: LeaseKernelManager, sessions: SessionManager) -> None:
    """Take back what an earlier server of this name left.

    Kernels and sessions are listed before anything is waited for: a browser that comes back must not miss them.
    """
    for kept in shelf().kept():
        opened = [session for session in kept.sessions if session.path]
        env = sessions.get_kernel_env(opened[0].path, opened[0].name) if opened else dict(os.environ)
        await kernels.take_back(kept, env)
        for session in kept.sessions:
            await sessions.save_session(
                session.id, path=session.path, name=session.name, type=session.type, kernel_id=kept.kernel
            )
