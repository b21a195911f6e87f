"""Who may ask the server for what: checks before Gradio sees a request.

Gradio by itself answers any `Host`, and tells a browser that any page may read the
answer. So a page anywhere could drive an app on this machine, through a name that it
lets point to 127.0.0.1.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any


# Kinds of an ASGI server.
Message = MutableMapping[str, Any]
ReceiveFn = Callable[[], Awaitable[Message]]
SendFn = Callable[[Message], Awaitable[None]]
AppFn = Callable[[Message, ReceiveFn, SendFn], Awaitable[None]]

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
# Bytes of a request that is no upload; a form has some thousand, and a drawing more.
MAX_FORM = 16_000_000
_UPLOAD = "/gradio_api/upload"
# What a page posts to. Gradio has more, which take forms in other ways, or leave files.
_POSTS = (
    _UPLOAD,
    "/gradio_api/queue/join",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/login",
)
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Refuse requests with a foreign host (400) or origin (403), or too large (413).

    What a page does not post to is not there (404). A form that names a file which was
    not uploaded is refused as well (403): Gradio opens some without a question, and
    fetches addresses.

    Args:
        app: the server behind it.
        folder: folder of what was uploaded.
        hosts: names by which this server may be called; "*": any.
        origins: hosts of pages that may ask, beside its own; "*": any. It may change.
    """

    def __init__(
        self,
        app: AppFn,
        folder: str,
        hosts: Sequence[str] = LOCAL_HOSTS,
        origins: Sequence[str] = (),
    ):
        self._app, self._hosts, self._origins = app, tuple(hosts), origins
        self._folder = os.path.realpath(folder)

    async def __call__(self, scope: Message, receive: ReceiveFn, send: SendFn) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        fault = self._fault(scope, headers)
        if fault is None and scope["type"] == "http" and _has_form(scope):
            body = await _read(receive)
            fault = self._form_fault(body)
            receive = _replay(body or b"", receive)
        if fault is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(send, *fault)

    def _fault(
        self, scope: Message, headers: Mapping[str, str]
    ) -> tuple[int, str] | None:
        """Return status and text of a refusal; None: it may pass."""
        host = headers.get("host", "")
        if "*" not in self._hosts and _name(host) not in self._hosts:
            return 400, "this address is not the app's"
        if not self._may_ask(headers):
            return 403, "only the app's own page may do that"
        if scope.get("method") not in (*_SAFE, None) and _path(scope) not in _POSTS:
            return 404, "the app has no such form"
        length = headers.get("content-length", "0")
        if _has_form(scope) and (not length.isdecimal() or int(length) > MAX_FORM):
            return 413, "the form is too large"
        return None

    def _may_ask(self, headers: Mapping[str, str]) -> bool:
        if "*" in self._origins:
            return True
        origin = headers.get("origin")
        if origin is not None:
            place = origin.partition("://")[2]
            # No header that a page could set itself, such as `x-forwarded-host`.
            return place == headers.get("host") or place in self._origins
        # What a page embeds is asked for without an origin; a link may be followed.
        is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        return not is_foreign or headers.get("sec-fetch-mode") == "navigate"

    def _form_fault(self, body: bytes | None) -> tuple[int, str] | None:
        if body is None:
            return 413, "the form is too large"
        try:
            form = json.loads(body)
        except (ValueError, RecursionError):
            return None  # the login's is no JSON
        waiting = [form]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Mapping):
                path = value.get("path")
                if isinstance(path, str) and not self._is_uploaded(path):
                    return 403, "a picture must be uploaded"
                waiting += value.values()
            elif isinstance(value, list):
                waiting += value
        return None

    def _is_uploaded(self, path: str) -> bool:
        try:
            return os.path.realpath(path).startswith(self._folder + os.sep)
        except (ValueError, OSError):  # a zero byte
            return False


def _name(host: str) -> str:
    """Return a host without its port."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _path(scope: Message) -> str:
    return scope["path"].rstrip("/")


def _has_form(scope: Message) -> bool:
    return scope.get("method") not in (*_SAFE, None) and _path(scope) != _UPLOAD


async def _read(receive: ReceiveFn) -> bytes | None:
    """Return the body of a request; None if it is too large."""
    pieces, count, is_more = [], 0, True
    while is_more:
        message = await receive()
        piece = message.get("body", b"")
        count += len(piece)
        if count > MAX_FORM:
            return None
        pieces.append(piece)
        is_more = message.get("more_body", False)
    return b"".join(pieces)


def _replay(body: bytes, receive: ReceiveFn) -> ReceiveFn:
    """Return a function that receives a body that was read already, once."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _answer(send: SendFn, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
