"""A server on this machine that speaks the Hub's protocol, well or badly."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    range: str | None
    token: str | None


class Request(BaseHTTPRequestHandler):
    """One request, and the ways in which it may be answered."""

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def hub(self) -> "HubServer":
        return self.server.hub

    def do_GET(self) -> None:
        hub = self.hub
        if self.path.startswith("/api/"):  # huggingface_hub's own news
            self.send_error(404)
            return
        headers = self.headers
        asked = self.command, self.path, headers["Range"], headers["Authorization"]
        with hub.lock:
            hub.requests.append(Asked(*asked))
            answer = hub.answers.pop(0) if hub.answers else hub.answer
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):  # the client has hung up
            self.close_connection = True

    do_HEAD = do_GET

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
        if self.command == "HEAD":
            return
        with self.hub.lock:  # before the client has it, and looks
            self.hub.num_sent += end - start
        self.wfile.write(body[start:end])


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up when they have what they need."""


Answer = Callable[[Request], None]


def part(request: Request) -> None:
    """Answer as a good server does: with the part that was asked for."""
    asked = request.headers.get("Range", "").removeprefix("bytes=").partition("-")
    body = request.hub.body
    if not asked[1]:
        whole(request)
        return
    start, end = int(asked[0]), min(int(asked[2]) + 1, len(body))
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
    request.send(206, body, {**request.described(), **headers}, (start, end))


def whole(request: Request) -> None:
    """Answer with the whole file, whatever was asked for."""
    request.send(200, request.hub.body, request.described())


def fail(status: int, **headers: str) -> Answer:
    """An error; `X_Error_Code` becomes the header `X-Error-Code`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.send(status, b"", named)


class HubServer:
    """Serves one file for every path; use it in a `with` statement.

    Attributes:
        body: the file.
        sha256: the hash that it states for the file; may be empty.
        requests: all that came.
        answers: how to answer the next requests; then `answer`.
        num_sent: bytes of bodies sent.
    """

    def __init__(self, body: Any, *, commit: str, is_hashed: bool = True):
        self.body = body
        self.sha256 = hashlib.sha256(body).hexdigest() if is_hashed else ""
        self.commit = commit
        self.answer: Answer = part
        self.answers: list[Answer] = []
        self.requests: list[Asked] = []
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
