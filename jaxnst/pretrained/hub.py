"""Weights on the Hugging Face Hub, fetched with huggingface_hub and kept on disk.

Only the convolutions travel: 80 MB of the 575 MB of VGG-19. The header of the file
says where they lie, and HTTP range requests fetch them. So the hash of the whole file
cannot be computed; checked are the pinned commit, the hash and size that the Hub states
for the file, and every tensor's name, shape, type and finiteness. The hash of the file
that is then kept is stored, and checked whenever it is loaded.
"""

import dataclasses
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    build_hf_headers,
    hf_raise_for_status,
    http_backoff,
    tqdm,
)

from jaxnst import __version__
from jaxnst.images.files import file_sha256

from .cache import check_kept, check_room, kept_path, lock_kept, write_kept
from .formats import Arrays, TensorFile, naming, open_tensors
from .layouts import UsedWeights, Weights, expected_bytes, save_weights, take_weights
from .registry import HubFile, OwnFile, WeightSpec


# Base of the HTTP client's errors: of httpx or httpx2, whichever huggingface_hub uses.
_HTTPError: Any = HfHubHTTPError.__bases__[0]
# Tensors that lie so near each other are fetched by one request, up to a size.
_MAX_GAP = 256_000
_MAX_REQUEST = 16_000_000
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16}
_TOKEN = "a `token` (HF_TOKEN, or that of `hf auth login`)"


def load_kept(
    spec: WeightSpec, *, token: str | bool | None = None, progress: bool = True
) -> tuple[Weights, UsedWeights]:
    """Return weights that are not bundled, downloading them if they are not on disk."""
    path = kept_path(spec)
    if not path.exists():
        fetch(spec, token=token, progress=progress)
    try:
        digest = check_kept(path)
    except ValueError as error:
        raise ValueError(
            f"{error} Get them again: jaxnst networks get {spec.name}"
        ) from error
    with naming(path):
        weights = take_weights(open_tensors(path), expected=spec.architecture)
    return weights, UsedWeights(spec.name, digest)


def fetch(
    spec: WeightSpec,
    *,
    token: str | bool | None = None,
    progress: bool = True,
    renew: bool = False,
) -> Path:
    """Download weights unless they are on disk, and return where they are kept.

    `token` None is the one huggingface_hub knows, False none.
    """
    if not isinstance(spec.source, HubFile):
        assert isinstance(spec.source, OwnFile)
        raise FileNotFoundError(
            f"the weights of {spec.name!r} are not on disk, and {spec.source.advice}"
        )
    # The whole file, if huggingface_hub has downloaded it before.
    cached = try_to_load_from_cache(
        spec.source.repo,
        spec.source.filename,
        revision=spec.source.revision,
        cache_dir=constants.HF_HUB_CACHE,
    )
    if isinstance(cached, str) and is_commit(spec.source.revision):
        return keep_own(spec, Path(cached))
    path = kept_path(spec)
    with lock_kept(path):
        # Another process may have downloaded them while this one waited.
        if path.exists() and not renew:
            return path
        check_room(path, expected_bytes(spec.architecture))
        try:
            weights, described = _download(spec, spec.source, token, progress)
        except (OSError, _HTTPError) as error:
            raise _explained(error, spec, spec.source) from error
        write_kept(path, save_weights(weights, **described))
        return path


def keep_own(spec: WeightSpec, source: Path) -> Path:
    """Keep weights from a file of the user's as those of a spec; return where."""
    path = kept_path(spec)
    with lock_kept(path), naming(source):
        file = open_tensors(source)
        digest = file_sha256(source)
        _check_sha256(spec, digest)
        # The registry knows the preprocessing; the file need not.
        weights = take_weights(
            file, expected=spec.architecture, preprocessing=spec.preprocessing
        )
        data = save_weights(weights, source=source.name, source_sha256=digest)
        write_kept(path, data)
    return path


def is_commit(revision: str) -> bool:
    """Return whether a revision is a commit, which never changes."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _check_sha256(spec: WeightSpec, digest: str | None) -> None:
    """Check the hash of the whole file, if both are known."""
    expected = spec.source.sha256 if isinstance(spec.source, HubFile) else None
    if None not in (digest, expected) and digest != expected:
        raise ValueError(
            f"it is not the file of {spec.name!r}: it has sha256 {digest}, expected "
            f"{expected}"
        )


def _download(
    spec: WeightSpec, source: HubFile, token: str | bool | None, progress: bool
) -> tuple[Weights, dict[str, str]]:
    """Return the weights, and metadata for the file that is kept."""
    revision = source.revision
    api = HfApi(token=token, library_name="jaxnst", library_version=__version__)
    url = hf_hub_url(source.repo, source.filename, revision=revision)
    stated = api.get_hf_file_metadata(url=url)
    commit, etag = stated.commit_hash, stated.etag or ""
    digest = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None
    with naming(url):
        _check_sha256(spec, digest)
        if is_commit(revision) and commit not in (None, revision):
            raise ValueError(f"it is of commit {commit}, not {revision}")
        # A branch may move on between two requests, its commit does not.
        source = dataclasses.replace(source, revision=commit or revision)
        file = _open_remote(api, source, stated.size, spec.name if progress else None)
        weights = take_weights(
            file, expected=spec.architecture, preprocessing=spec.preprocessing
        )
    described = {
        "source": f"{source.repo}/{source.filename}",
        "revision": revision,
        "commit": commit,
        "source_sha256": digest,
        "license": spec.license,
        "paper": spec.paper,
    }
    return weights, {key: text for key, text in described.items() if text is not None}


def _open_remote(
    api: HfApi, source: HubFile, size: int | None, title: str | None
) -> TensorFile:
    """Open a safetensors file on the Hub; `title` is that of the progress bar."""
    try:
        header = api.parse_safetensors_file_metadata(
            source.repo, source.filename, revision=source.revision
        )
        infos = header.tensors
        shapes = {name: tuple(info.shape) for name, info in infos.items()}
        data_size = max((info.data_offsets[1] for info in infos.values()), default=0)
    except (OSError, _HTTPError):
        raise
    except Exception as error:  # of several kinds
        raise ValueError("it is not a safetensors file") from error
    data_start = 8 + int.from_bytes(_get(api, source, 0, 8), "little")
    if size not in (None, data_start + data_size):
        raise ValueError(
            f"it is damaged: it has {size} bytes, its header needs "
            f"{data_start + data_size}"
        )

    def read(names: Collection[str]) -> Arrays:
        for name in names:  # before anything of a wrong size is fetched
            info = infos[name]
            if info.dtype not in _FLOATS:
                raise ValueError(f"{name} is {info.dtype}, expected floats")
            start, end = info.data_offsets
            needed = np.dtype(_FLOATS[info.dtype]).itemsize * math.prod(shapes[name])
            if start < 0 or end - start != needed:
                raise ValueError(
                    f"{name} is at {start} to {end}, but has {needed} bytes"
                )
        arrays: Arrays = {}
        runs: list[tuple[int, int]] = []
        for start, end in sorted(infos[name].data_offsets for name in names):
            first, last = runs[-1] if runs else (start, -math.inf)
            if start - last <= _MAX_GAP and end - first <= _MAX_REQUEST:
                runs[-1] = first, max(int(last), end)
            else:
                runs.append((start, end))
        with tqdm(
            total=sum(end - start for start, end in runs),
            desc=title,
            unit="B",
            unit_scale=True,
            disable=None if title else True,  # None: except on a terminal
        ) as bar:
            for start, end in runs:
                data = _get(api, source, data_start + start, data_start + end)
                bar.update(len(data))
                for name in names:
                    first, last = (at - start for at in infos[name].data_offsets)
                    if first >= 0 and last <= len(data):
                        dtype = _FLOATS[infos[name].dtype]
                        values = np.frombuffer(data[first:last], dtype)
                        arrays[name] = values.reshape(shapes[name])
        return arrays

    return TensorFile(shapes, header.metadata, read)


def _get(api: HfApi, source: HubFile, start: int, end: int) -> bytes:
    """Return some bytes of a file on the Hub."""
    headers = build_hf_headers(token=api.token, library_name="jaxnst")
    # Places in the file count only if nothing compresses it on the way.
    headers |= {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    response = http_backoff(
        "GET",
        hf_hub_url(source.repo, source.filename, revision=source.revision),
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    )
    hf_raise_for_status(response)
    if response.status_code != 206 or len(response.content) != end - start:
        raise OSError(
            f"asked for {end - start} bytes of the file, it sent "
            f"{len(response.content)} with status {response.status_code}"
        )
    return response.content


def _explained(error: Exception, spec: WeightSpec, source: HubFile) -> OSError:
    """Return an error of one line that says what to do."""
    kind: type[OSError] = OSError
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        what = f"{source.repo} wants its terms accepted on its page, and {_TOKEN}"
    elif isinstance(error, RevisionNotFoundError):
        what = f"{source.repo} has no revision {source.revision!r}"
        kind = FileNotFoundError
    elif isinstance(error, RemoteEntryNotFoundError):
        what = f"{source.repo} has no file {source.filename} in {source.revision!r}"
        kind = FileNotFoundError
    elif isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        what = (
            f"it has no repository {source.repo}, or shows it only to some: give "
            f"{_TOKEN} that is one of theirs and has not expired"
        )
    elif status is not None:
        what = f"it answered with status {status}"
    elif isinstance(error, OfflineModeIsEnabled):
        what = "huggingface_hub is told to stay offline (HF_HUB_OFFLINE)"
        kind = ConnectionError
    else:
        what = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if not isinstance(error, OSError):  # the HTTP client's own: there is no server
            what = f"there is no connection ({what})"
            kind = ConnectionError
    host = constants.ENDPOINT.split("://")[-1]
    if kept_path(spec).exists():
        where, advice = "on disk, but cannot be downloaded again", ""
    else:
        where = "not on disk and cannot be downloaded"
        advice = " The network 'vgg19' comes with jaxnst and needs no download."
    return kind(
        f"the weights of {spec.name!r} are {where} from {host}: {what}.{advice}"
    )
