"""A server on this machine that speaks the Hub's protocol, well or badly."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Request(BaseHTTPRequestHandler):
    """One request, and the ways in which it may be answered."""

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def hub(self) -> "HubServer":
        return self.server.hub

    def asked(self) -> tuple[int, int] | None:
        """First byte asked for and the one behind the last; None: all."""
        given = self.headers.get("Range", "")
        if not given.startswith("bytes="):
            return None
        first, _, last = given.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, len(self.hub.body))

    def span(self) -> tuple[int, int]:
        """The same, where something was asked for."""
        span = self.asked()
        assert span is not None
        return span

    def do_GET(self) -> None:
        hub = self.hub
        if self.path.startswith("/api/"):  # huggingface_hub's own news
            self.send_error(404)
            return
        with hub.lock:
            hub.requests.append(
                (self.path, self.headers.get("Range"), dict(self.headers))
            )
            answer = hub.answers.pop(0) if hub.answers else hub.answer
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):  # they have what they need
            self.close_connection = True

    def described(self) -> dict[str, str]:
        return {
            "X-Repo-Commit": self.hub.commit,
            "X-Linked-Etag": f'"{self.hub.sha256}"',
            "ETag": f'"{self.hub.sha256}"',
        }

    def send(
        self,
        status: int,
        body: Any,
        headers: dict[str, str],
        span: tuple[int, int] | None = None,
    ) -> None:
        """Answer with a body, or a span of it."""
        start, end = span or (0, len(body))
        self.send_response(status)
        for name, value in {"Content-Length": str(end - start), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for at in range(start, end, 1 << 16):
            piece = body[at : min(at + (1 << 16), end)]
            with self.hub.lock:  # before the client has it, and looks
                self.hub.num_sent += len(piece)
            self.wfile.write(piece)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up when they have what they need."""


Answer = Callable[[Request], None]


def part(request: Request, **changes: str) -> None:
    """What was asked for, as a good server sends it."""
    span = request.asked()
    if span is None:
        whole(request)
        return
    start, end = span
    total = len(request.hub.body)
    if start >= total:
        request.send(416, b"", {"Content-Range": f"bytes */{total}"})
        return
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{total}"}
    described = {**request.described(), **headers, **changes}
    request.send(206, request.hub.body, described, span)


def whole(request: Request) -> None:
    """The whole file, whatever was asked for."""
    request.send(200, request.hub.body, request.described())


def fail(status: int, **headers: str) -> Answer:
    """An error; `X_Error_Code` becomes the header `X-Error-Code`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.send(status, b"", named)


class HubServer:
    """Serves one file for every path; use it in a `with` statement.

    Attributes:
        body: the file.
        sha256: what it says of the file's hash; empty where it is not to say anything.
        requests: (path, range, headers) of all that came.
        answers: how to answer the next requests; then `answer`.
    """

    def __init__(self, body: Any, *, commit: str, is_hashed: bool = True):
        self.body = body
        self.sha256 = hashlib.sha256(body).hexdigest() if is_hashed else ""
        self.commit = commit
        self.answer: Answer = part
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str | None, dict[str, str]]] = []
        self.num_sent = 0
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Request)
        self._server.hub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "HubServer":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
