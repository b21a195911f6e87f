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


def load_kept(
    spec: WeightSpec,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    progress: bool = True,
) -> tuple[Weights, UsedWeights]:
    """Return the weights of a spec that is not bundled, downloading them if need be.

    Args:
        spec: of the registry.
        revision: a commit, branch or tag; by default the pinned commit.
        token: as for `huggingface_hub`.
        progress: show a bar on standard error while downloading.

    Raises:
        OSError: if they are not on disk and cannot be had, or cannot be kept.
        ValueError: if what is on disk or on the Hub is not what it should be.
    """
    path = kept_path(spec, revision)
    if not path.exists():
        path = fetch(spec, revision=revision, token=token, progress=progress)
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
    revision: str | None = None,
    token: str | bool | None = None,
    progress: bool = True,
    renew: bool = False,
) -> Path:
    """Download the weights of a spec, and return where they are kept.

    Args:
        spec: of the registry; not bundled.
        revision: as for `load_kept`, like everything here.
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
    with keeping(spec, revision) as path:
        # Whoever waited for the lock finds what the other one has downloaded.
        if path.exists() and not renew:
            return path
        revision = revision or spec.source.revision
        whole = _in_hub_cache(spec.source, revision)
        if whole is not None and is_commit(revision):
            return _keep_own(spec, path, whole)
        check_room(path, expected_bytes(spec.architecture))
        try:
            with DownloadBar(spec.name, enabled=progress) as bar:
                weights, described = _download(spec, spec.source, revision, token, bar)
        except (OSError, HTTPError) as error:
            raise _explained(error, spec, revision) from error
        write_kept(path, save_weights(weights, **described))
        return path


def keep_own(spec: WeightSpec, source: Path) -> Path:
    """Keep weights from the user's file as those of a spec; return where.

    Args:
        spec: of the registry; not bundled.
        source: a file of any format. If the spec knows the hash of its file, only that
            very file is taken.

    Raises:
        OSError: if it cannot be read or kept.
        ValueError: if it holds another network, or is another file.
    """
    with keeping(spec, None) as path:
        return _keep_own(spec, path, source)


def _keep_own(spec: WeightSpec, path: Path, source: Path) -> Path:
    with naming(source):
        file = open_tensors(source)
        digest = file_sha256(source)
        if isinstance(spec.source, HubFile) and path == kept_path(spec):
            _check_sha256(spec, spec.source, digest)
        # What the registry says of it, not what the file does.
        weights = take_weights(
            file, expected=spec.architecture, preprocessing=spec.preprocessing
        )
    write_kept(path, save_weights(weights, source=source.name, source_sha256=digest))
    return path


def _check_sha256(spec: WeightSpec, source: HubFile, digest: str) -> None:
    if digest != source.sha256:
        raise ValueError(
            f"it is not the file of {spec.name!r}: it has sha256 {digest}, expected "
            f"{source.sha256}"
        )


def _in_hub_cache(source: HubFile, revision: str) -> Path | None:
    """Return the whole file, if huggingface_hub has downloaded it before."""
    found = try_to_load_from_cache(
        source.repo,
        source.filename,
        revision=revision,
        cache_dir=constants.HF_HUB_CACHE,
    )
    return Path(found) if isinstance(found, str) else None


def _download(
    spec: WeightSpec,
    source: HubFile,
    revision: str,
    token: str | bool | None,
    bar: DownloadBar,
) -> tuple[Weights, dict[str, str]]:
    """Return the weights, and what their file should say about itself."""
    remote = RemoteFile(
        source.repo,
        source.filename,
        revision=revision,
        token=token,
        on_bytes=bar.advance,
    )
    with naming(remote.url):
        file = _open_remote(remote, bar)
        identity = remote.identity or FileIdentity(None, None, None, None)
        if revision == source.revision and identity.sha256 is not None:
            _check_sha256(spec, source, identity.sha256)
        if is_commit(revision) and identity.commit not in (None, revision):
            raise ValueError(f"it is of commit {identity.commit}, not {revision}")
        weights = take_weights(
            file, expected=spec.architecture, preprocessing=spec.preprocessing
        )
    described = {
        "source": f"{source.repo}/{source.filename}",
        "revision": revision,
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
        bar.expect(sum(end - start for start, end in spans), size)
        return remote.read_spans(spans)

    return from_header(header, read_spans)


def _explained(error: Exception, spec: WeightSpec, revision: str) -> Exception:
    """Return an error of one line that says what to do."""
    assert isinstance(spec.source, HubFile)
    repo, host = spec.source.repo, constants.ENDPOINT.split("://")[-1]
    kind: type[OSError] = OSError
    if isinstance(error, GatedRepoError):
        what = f"{repo} wants its terms accepted on its page, and a `token`"
    elif isinstance(error, RevisionNotFoundError):
        what = f"{repo} has no revision {revision!r}"
        kind = FileNotFoundError
    elif isinstance(error, RemoteEntryNotFoundError):
        what = f"{repo} has no file {spec.source.filename} in revision {revision!r}"
        kind = FileNotFoundError
    elif isinstance(error, RepositoryNotFoundError) or _status(error) in (401, 403):
        what = (
            f"it has no repository {repo}, or shows it only to some: give a `token` "
            "of theirs, and none that has expired"
        )
    elif _status(error) == 429:
        what = "too many requests came from here; try again in some minutes"
    elif (status := _status(error)) is not None:
        what = f"it answered with status {status}"
    else:
        what = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ConnectionError):
            kind = ConnectionError
    return kind(
        f"the weights of {spec.name!r} are not on disk and cannot be had from {host}: "
        f"{what}. {_ALTERNATIVE}"
    )


def is_commit(revision: str) -> bool:
    """Return whether a revision can never change."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None
