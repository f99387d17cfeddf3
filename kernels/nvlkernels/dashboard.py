"""Dask's dashboard behind the login of its user's own server, and no other way.

A scheduler serves its dashboard on a port of its machine, where anybody could call it. Ours answers only to requests with a
key (:mod:`nvlkernels.dashboard_key`) that the user's server gives along, which has checked the login by then. Where the server is on
another machine it speaks TLS, with a certificate of its own that the server knows by the proof.
"""

from __future__ import annotations

import hmac
import ssl
from typing import Any

from distributed import Scheduler, Security
from tornado import httputil

from nvlkernels.dashboard_key import HEADER, LOOPBACK, PROOF, dashboard_key, proof


class GuardedScheduler(Scheduler):
    """A scheduler that shows nothing over HTTP to those who do not have the key."""

    def start_http_server(
        self, routes: Any, dashboard_address: str, default_port: int = 0, ssl_options: Any = None
    ) -> None:  # fmt: skip
        """Start the HTTP server, with a guard before every route."""
        certificate = ""
        if not dashboard_address.startswith(f"{LOOPBACK}:"):
            certificate, ssl_options = _certified()
        super().start_http_server(routes, dashboard_address, default_port, ssl_options)
        server: Any = self.http_server
        server.request_callback = _Guard(self.http_application, server.port, certificate)


def _certified() -> tuple[str, ssl.SSLContext]:
    """Make a certificate; return it (PEM) and what serves with it."""
    made: Any = Security.temporary()
    context: ssl.SSLContext = made.get_listen_args("scheduler")["ssl_context"]
    # Who asks shows a key, not a certificate.
    context.verify_mode = ssl.CERT_NONE
    return str(made.tls_scheduler_cert), context


class _Guard(httputil.HTTPServerConnectionDelegate):
    def __init__(self, application: httputil.HTTPServerConnectionDelegate, port: int, certificate: str) -> None:
        self._application = application
        self._port = port
        self._certificate = certificate

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:  # fmt: skip
        inner = self._application.start_request(server_conn, request_conn)
        return _Checked(inner, request_conn, self._port, self._certificate)

    def on_close(self, server_conn: object) -> None:
        self._application.on_close(server_conn)


class _Checked(httputil.HTTPMessageDelegate):
    """One request: passed on if it has the key, answered with 403 if not; a nonce is answered with its proof."""

    def __init__(
        self, inner: httputil.HTTPMessageDelegate, connection: httputil.HTTPConnection, port: int, certificate: str
    ) -> None:  # fmt: skip
        self._inner = inner
        self._connection = connection
        self._port = port
        self._certificate = certificate
        self._allowed = False
        self._path = ""

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Any:
        self._path = str(start_line.path)
        self._allowed = hmac.compare_digest(headers.get(HEADER, "").encode(), dashboard_key(self._port).encode())
        return self._inner.headers_received(start_line, headers) if self._allowed else None

    def data_received(self, chunk: bytes) -> Any:
        return self._inner.data_received(chunk) if self._allowed else None

    def finish(self) -> None:
        if self._allowed:
            self._inner.finish()
        elif self._path.startswith(PROOF):
            signed = proof(self._port, self._path.removeprefix(PROOF), self._certificate)
            self._answer(200, "OK", signed + self._certificate)
        else:
            self._answer(403, "Forbidden", "This dashboard is shown by its user's own server, after the login.\n")

    def _answer(self, status: int, reason: str, text: str) -> None:
        headers = httputil.HTTPHeaders({"Content-Type": "text/plain", "Content-Length": str(len(text))})
        self._connection.write_headers(httputil.ResponseStartLine("HTTP/1.1", status, reason), headers, text.encode())
        self._connection.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()
