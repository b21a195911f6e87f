"""The weights of the registry that are on the Hugging Face Hub, fetched and kept.

Only the convolutions travel: 80 MB of the 575 MB of VGG-19. So the hash of the whole
file cannot be checked. What is: the revision is pinned, the server's own hash of the
file (its `X-Linked-Etag`, if it sends one) is the expected one, every tensor has the
expected name, shape and type and is finite. The hash of what is then kept is stored,
and checked whenever it is loaded.
"""

import re
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .downloading import DownloadBar
from .header import LENGTH_BYTES, header_length, parse_header
from .keys import expected_bytes
from .ranges import WEB_PAGE, FileIdentity, HTTPError, RemoteFile, Span
from .specs import HubFile, OwnFile, WeightSpec
from .store import check_room, keeping, kept_path, read_kept, write_kept
from .tensors import (
    TensorFile,
    file_sha256,
    from_header,
    load_safetensors,
    naming,
    open_tensors,
)
from .weights import UsedWeights, Weights, save_weights, take_weights


# A little more than the header of any network here.
_START_BYTES = 65_536
_ALTERNATIVE = "The network 'vgg19' comes with jaxnst and needs no download."
_TOKEN = "a `token` (HF_TOKEN, or that of `hf auth login`)"


def load_kept(
    spec: WeightSpec, *, token: str | bool | None = None, progress: bool = True
) -> tuple[Weights, UsedWeights]:
    """Return the weights of a spec that is not bundled, downloading them if need be.

    Args:
        spec: of the registry, of any revision.
        token: as for `huggingface_hub`.
        progress: show a bar on standard error while downloading.

    Raises:
        OSError: if they are not on disk and cannot be had, or cannot be kept.
        ValueError: if what is on disk or on the Hub is not what it should be.
    """
    path = kept_path(spec)
    if not path.exists():
        fetch(spec, token=token, progress=progress)
    try:
        data, digest = read_kept(path)
    except ValueError as error:
        raise ValueError(
            f"{error} Get them again: jaxnst networks get {spec.name}"
        ) from error
    with naming(path):
        weights = take_weights(load_safetensors(data), expected=spec.architecture)
    return weights, UsedWeights(spec.name, digest)


def fetch(
    spec: WeightSpec,
    *,
    token: str | bool | None = None,
    progress: bool = True,
    renew: bool = False,
) -> Path:
    """Download the weights of a spec, and return where they are kept.

    Args:
        spec: as for `load_kept`, like everything here.
        token: likewise.
        progress: likewise.
        renew: download them, too, if they are on disk.

    Raises:
        OSError, ValueError: likewise.
    """
    if not isinstance(spec.source, HubFile):
        assert isinstance(spec.source, OwnFile)
        raise FileNotFoundError(
            f"the weights of {spec.name!r} are not on disk, and {spec.source.advice}"
        )
    path = kept_path(spec)
    with (
        DownloadBar(spec.name, enabled=progress) as bar,
        keeping(path, on_wait=bar.wait),
    ):
        # Whoever waited for the lock finds what the other one has downloaded.
        if path.exists() and not renew:
            return path
        whole = _in_hub_cache(spec.source)
        if whole is not None and is_commit(spec.source.revision):
            _keep_own(spec, path, whole)
            return path
        check_room(path, expected_bytes(spec.architecture))
        try:
            weights, described = _download(spec, spec.source, token, bar)
        except (OSError, HTTPError) as error:
            raise _explained(error, spec, is_kept=path.exists()) from error
        write_kept(path, save_weights(weights, **described))
        return path


def keep_own(spec: WeightSpec, source: Path) -> Path:
    """Keep weights from the user's file as those of a spec; return where.

    Args:
        spec: as for `load_kept`.
        source: a file of any format. If the spec knows the hash of its file, only that
            very file is taken.

    Raises:
        OSError: if it cannot be read or kept.
        ValueError: if it holds another network, or is another file.
    """
    path = kept_path(spec)
    with keeping(path):
        _keep_own(spec, path, source)
    return path


def _keep_own(spec: WeightSpec, path: Path, source: Path) -> None:
    with naming(source):
        file = open_tensors(source)
        digest = file_sha256(source)
        _check_sha256(spec, digest)
        # What the registry says of it, not what the file does.
        weights = take_weights(
            file, expected=spec.architecture, preprocessing=spec.preprocessing
        )
    write_kept(path, save_weights(weights, source=source.name, source_sha256=digest))


def _check_sha256(spec: WeightSpec, digest: str | None) -> None:
    """Check the hash of the whole file, as far as both are known."""
    expected = spec.source.sha256 if isinstance(spec.source, HubFile) else None
    if None not in (digest, expected) and digest != expected:
        raise ValueError(
            f"it is not the file of {spec.name!r}: it has sha256 {digest}, expected "
            f"{expected}"
        )


def _in_hub_cache(source: HubFile) -> Path | None:
    """Return the whole file, if huggingface_hub has downloaded it before."""
    found = try_to_load_from_cache(
        source.repo,
        source.filename,
        revision=source.revision,
        cache_dir=constants.HF_HUB_CACHE,
    )
    return Path(found) if isinstance(found, str) else None


def _download(
    spec: WeightSpec, source: HubFile, token: str | bool | None, bar: DownloadBar
) -> tuple[Weights, dict[str, str]]:
    """Return the weights, and what their file should say about itself."""
    remote = RemoteFile(
        source.repo,
        source.filename,
        revision=source.revision,
        token=token,
        on_bytes=bar.advance,
    )
    with naming(remote.url):
        file = _open_remote(remote, bar)
        identity = remote.identity or FileIdentity(None, None, None, None)
        _check_sha256(spec, identity.sha256)
        if is_commit(source.revision) and identity.commit not in (
            None,
            source.revision,
        ):
            raise ValueError(
                f"it is of commit {identity.commit}, not {source.revision}"
            )
        weights = take_weights(
            file, expected=spec.architecture, preprocessing=spec.preprocessing
        )
    described = {
        "source": f"{source.repo}/{source.filename}",
        "revision": source.revision,
        "commit": identity.commit,
        "source_sha256": identity.sha256,
        "license": spec.license,
        "paper": spec.paper,
    }
    known = {name: value for name, value in described.items() if value is not None}
    return weights, known


def _open_remote(remote: RemoteFile, bar: DownloadBar) -> TensorFile:
    start = remote.read_start(_START_BYTES)
    if start.lstrip().startswith(b"<"):
        raise OSError(WEB_PAGE)
    length = LENGTH_BYTES + header_length(start)
    if length > len(start):
        start += remote.read_spans([(len(start), length)])[0]
    size = None if remote.identity is None else remote.identity.size
    header = parse_header(start, size)

    def read_spans(spans: list[Span]) -> list[bytes]:
        bar.expect(remote.num_bytes(spans), size)
        return remote.read_spans(spans)

    return from_header(header, read_spans)


def _explained(error: Exception, spec: WeightSpec, *, is_kept: bool) -> Exception:
    """Return an error of one line that says what to do."""
    assert isinstance(spec.source, HubFile)
    repo, revision = spec.source.repo, spec.source.revision
    host = constants.ENDPOINT.split("://")[-1]
    kind: type[OSError] = OSError
    if isinstance(error, GatedRepoError):
        what = f"{repo} wants its terms accepted on its page, and {_TOKEN}"
    elif isinstance(error, RevisionNotFoundError):
        what = f"{repo} has no revision {revision!r}"
        kind = FileNotFoundError
    elif isinstance(error, RemoteEntryNotFoundError):
        what = f"{repo} has no file {spec.source.filename} in revision {revision!r}"
        kind = FileNotFoundError
    elif _is_web_page(error):  # no words of the Hub's
        what = f"status {_status(error)} and {WEB_PAGE}"
    elif isinstance(error, RepositoryNotFoundError) or _status(error) in (401, 403):
        what = (
            f"it has no repository {repo}, or shows it only to some: give {_TOKEN} "
            "that is one of theirs and has not expired"
        )
    elif _status(error) == 429:
        what = "too many requests came from here; try again in some minutes"
    elif (status := _status(error)) is not None:
        what = f"it answered with status {status}"
    else:
        what = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if isinstance(error, ConnectionError):
            kind = ConnectionError
    if is_kept:
        return kind(
            f"the weights of {spec.name!r} are on disk, but cannot be had anew from "
            f"{host}: {what}."
        )
    return kind(
        f"the weights of {spec.name!r} are not on disk and cannot be had from {host}: "
        f"{what}. {_ALTERNATIVE}"
    )


def _is_web_page(error: Exception) -> bool:
    if not isinstance(error, HfHubHTTPError):
        return False
    return "text/html" in error.response.headers.get("Content-Type", "")


def is_commit(revision: str) -> bool:
    """Return whether a revision can never change."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None
