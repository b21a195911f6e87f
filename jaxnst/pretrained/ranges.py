"""Parts of a file on the Hugging Face Hub, read over HTTP by huggingface_hub's client.

`huggingface_hub` itself downloads whole files. A server may answer a request for a part
with the part, with less, with the whole file, or with something else; what comes is
checked before it is used.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from jaxnst import __version__


# httpx's base of all errors, of whichever httpx this huggingface_hub is built on.
HTTPError: Any = next(
    base for base in HfHubHTTPError.__bases__ if not issubclass(base, OSError)
)
# Kinds of errors by name: their classes are those of one httpx or the other.
_NO_CONNECTION = {"ConnectError", "ConnectTimeout", "ProxyError"}
_BROKEN_OFF = {"TimeoutException", "NetworkError", "RemoteProtocolError"}
# Try again after these, too; what else is wrong will be wrong again.
_PASSING = (408, 429, 500, 502, 503, 504)
MAX_TRIES = 4
# Of the second try; each one after waits twice as long.
_FIRST_PAUSE = 1.0
# A server may ask for a pause; nobody waits longer for it.
MAX_PAUSE = 30.0
# Parts that lie so near each other are asked for at once.
MAX_GAP = 256_000
# An answer of so much is progress, not a failed try.
_MIN_PROGRESS = 1_000_000
WEB_PAGE = (
    "a web page came in place of the file, perhaps from a proxy or a login page on the "
    "way"
)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

Span = tuple[int, int]
# Called with the number of bytes that have just come.
OnBytes = Callable[[int], None]


class FileIdentity(NamedTuple):
    """Which file a server has, as far as it says.

    Attributes:
        sha256: of the whole file, or None.
        etag: anything that changes with the file, or None.
        commit: of the repository, or None.
        size: in bytes, or None.
    """

    sha256: str | None
    etag: str | None
    commit: str | None
    size: int | None


class Unreachable(ConnectionError):
    """There is no way to the server, or none is wanted."""


class RemoteFile:
    """A file in a repository on the Hub.

    Args:
        repo: "owner/name".
        filename: its path there.
        revision: a commit, branch or tag.
        token: as for `huggingface_hub`; None takes the one it knows, False none.
        on_bytes: told of all that comes.
    """

    def __init__(
        self,
        repo: str,
        filename: str,
        *,
        revision: str,
        token: str | bool | None = None,
        on_bytes: OnBytes | None = None,
    ):
        self.url = hf_hub_url(repo, filename, revision=revision)
        self.identity: FileIdentity | None = None
        self._headers = {
            **build_hf_headers(
                token=token, library_name="jaxnst", library_version=__version__
            ),
            # Places in the file count only if nobody compresses it on the way.
            "Accept-Encoding": "identity",
        }
        self._on_bytes = on_bytes or (lambda _: None)
        self._ignores_ranges = False

    def read_start(self, size: int) -> bytes:
        """Return the first `size` bytes, fewer if the file has no more."""
        return self._read((0, size), is_whole=False)

    def read_spans(self, spans: list[Span]) -> list[bytes]:
        """Return parts of the file, in the order of `spans`.

        Neighbors are asked for together. A server that sends only whole files is asked
        once.

        Raises:
            Unreachable: if there is no connection, before anything has come.
            OSError: if the server refuses, breaks off again and again, or sends what
                was not asked for.
        """
        gap = None if self._ignores_ranges else MAX_GAP
        parts: dict[Span, memoryview] = {}
        for run, members in _coalesce(spans, gap):
            data = memoryview(self._read(run))
            for start, end in members:
                parts[start, end] = data[start - run[0] : end - run[0]]
        return [bytes(parts[span]) for span in spans]

    def num_bytes(self, spans: list[Span]) -> int:
        """Return how many bytes will travel for parts of the file, if all goes well."""
        if self._ignores_ranges:  # all from the start on
            return max((end for _, end in spans), default=0)
        return sum(run[1] - run[0] for run, _ in _coalesce(spans, MAX_GAP))

    def _read(self, span: Span, *, is_whole: bool = True) -> bytes:
        """Return one part, in as many tries as make sense."""
        start, end = span
        data = bytearray()
        num_tries = 0
        pause = _FIRST_PAUSE
        while start + len(data) < end:
            before = len(data)
            problem: Exception | None = None
            asked: float | None = None
            try:
                self._receive(data, (start, end))
            except OfflineModeIsEnabled as error:
                raise Unreachable(
                    "huggingface_hub is told to stay offline (HF_HUB_OFFLINE or "
                    "TRANSFORMERS_OFFLINE)"
                ) from error
            except HfHubHTTPError as error:
                if error.response.status_code not in _PASSING:
                    raise
                problem, asked = error, _requested_pause(error)
            except HTTPError as error:
                if self.identity is None and _is_a(error, _NO_CONNECTION):
                    text = _describe(error)
                    raise Unreachable(f"there is no connection ({text})") from error
                if not _is_a(error, _BROKEN_OFF):
                    raise
                problem = error
            size = None if self.identity is None else self.identity.size
            if size is not None and not is_whole:
                end = min(end, size)
            if start + len(data) >= end:
                break
            num_tries = 1 if len(data) - before >= _MIN_PROGRESS else num_tries + 1
            if asked is not None and asked > MAX_PAUSE:
                raise OSError(f"the server asks to wait for {asked:.0f} s") from problem
            if num_tries >= MAX_TRIES:
                raise OSError(
                    f"the server did not send bytes {start + len(data)} to {end} in "
                    f"{num_tries} tries ({_describe(problem)})"
                ) from problem
            if len(data) == before:
                time.sleep(pause if asked is None else asked)
                pause *= 2
        return bytes(data)

    def _receive(self, data: bytearray, span: Span) -> None:
        """Add to `data` what comes in one answer, up to the end of `span`."""
        start, end = span
        position = start + len(data)
        with self._answer(position, end) as response:
            reached = self._check_answer(response, position)
            for chunk in response.iter_bytes():
                self._on_bytes(len(chunk))
                skip = max(0, position - reached)
                reached += len(chunk)
                data += chunk[skip : skip + end - start - len(data)]
                if start + len(data) >= end:
                    return
            if response.status_code == 200 and self.identity is not None:
                self.identity = self.identity._replace(size=reached)

    @contextmanager
    def _answer(self, start: int, end: int) -> Iterator[Any]:
        patience = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream(
            "GET",
            self.url,
            headers={**self._headers, "Range": f"bytes={start}-{end - 1}"},
            timeout=(constants.HF_HUB_ETAG_TIMEOUT, patience, patience, patience),
            follow_redirects=True,
        ) as response:
            _raise_for_status(response)
            yield response

    def _check_answer(self, response: Any, start: int) -> int:
        """Return the place in the file of the first byte that will come."""
        headers = response.headers
        if response.status_code == 200:
            if "text/html" in headers.get("Content-Type", ""):
                raise OSError(WEB_PAGE)
            self._ignores_ranges = True
            length = headers.get("Content-Length", "")
            is_packed = headers.get("Content-Encoding", "identity") != "identity"
            size = int(length) if length.isdecimal() and not is_packed else None
            self._check_identity(response, size)
            return 0
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if response.status_code != 206 or match is None:
            raise OSError(
                f"the server answered with status {response.status_code} and no "
                "proper Content-Range"
            )
        if int(match[1]) != start:
            raise OSError(
                f"the server sent bytes from {match[1]} on, asked for {start}"
            )
        if headers.get("Content-Encoding", "identity") != "identity":
            raise OSError("the server sent a part of a packed file")
        self._check_identity(response, None if match[3] == "*" else int(match[3]))
        return start

    def _check_identity(self, response: Any, size: int | None) -> None:
        """Check that it is the file that the last answer was from."""
        # The Hub describes the file before it sends us elsewhere; where that leads to,
        # ETag is something else, which may look the same.
        first = response.history[0] if response.history else response
        linked = first.headers.get("X-Linked-Etag")
        etag = (linked or response.headers.get("ETag") or "").removeprefix("W/")
        digest = (linked or "").strip('"').lower()
        identity = FileIdentity(
            digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None,
            etag.strip('"') or None,
            first.headers.get("X-Repo-Commit"),
            size,
        )
        known = self.identity
        if known is None:
            self.identity = identity
            return
        for name, old, new in zip(known._fields, known, identity, strict=True):
            if None not in (old, new) and old != new:
                raise OSError(
                    f"the file changed on the server while it was read ({name} {old}, "
                    f"then {new}); try again"
                )


def _raise_for_status(response: Any) -> None:
    try:
        hf_raise_for_status(response)
    except (HTTPError, OSError):
        raise
    except Exception as error:  # it takes what came with a bad status for JSON
        raise HfHubHTTPError("", response=response) from error


def _coalesce(spans: list[Span], gap: int | None) -> Iterator[tuple[Span, list[Span]]]:
    """Yield runs of spans with no more than `gap` bytes between; None: all in one."""
    members: list[Span] = []
    reached = 0
    for span in sorted(spans):
        if members and gap is not None and span[0] - reached > gap:
            yield (members[0][0], reached), members
            members = []
        reached = max(span[1], reached) if members else span[1]
        members.append(span)
    if members:
        yield (members[0][0], reached), members


def _is_a(error: Exception, names: set[str]) -> bool:
    return not names.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _requested_pause(error: HfHubHTTPError) -> float | None:
    after = error.response.headers.get("Retry-After", "").strip()
    return float(after) if after.isdecimal() and len(after) < 9 else None


def _describe(problem: Exception | None) -> str:
    if problem is None:
        return "it broke off"
    if isinstance(problem, HfHubHTTPError):
        return f"status {problem.response.status_code}"
    return " ".join(str(problem).split()) or type(problem).__name__
