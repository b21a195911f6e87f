"""The checked list of pictures to paint: the jobs of a sweep or of a table.

`sweep` and `batch` differ in how they write this list. Everything in it is checked
before anything is painted. A picture that is there already is told by the record
inside it, see `find_difference`.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image as PILImage

from jaxnst._checks import FORESEEN, one_line, plain, shown
from jaxnst.config import DYNAMIC, INITS, STRENGTH_MAP, TransferConfig
from jaxnst.finishing import check_packages
from jaxnst.images import Picture, PictureSource, check_picture, load_picture, to_pil
from jaxnst.images.files import file_sha256
from jaxnst.networks import Network
from jaxnst.pretrained import SPECS
from jaxnst.transfer.inputs import check_styles, result_shape
from jaxnst.transfer.plan import work_of
from jaxnst.transfer.regions import MASK_NAMES, naming_choices
from jaxnst.transfer.result import name_styles
from jaxnst.transfer.setup import Job, load_used_network, set_up, settle_config

from .axes import Axis, make_members, split_axes


# Settings that others depend on, so they are checked first.
_BASIC = ("preset", "network")
# Pictures and networks kept in memory; a VGG-19 takes up to 200 MB.
_MAX_PICTURES = 8
_MAX_NETWORKS = 2
# Pictures at the head of a contact sheet are shrunk to this.
_THUMBNAIL = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureJob:
    """One picture to paint, checked.

    Attributes:
        number: index of the member, or number of the row.
        place: its name in messages, such as `style_weight 3` or `jobs.csv row 4`.
        labels: {axis: label} of the member; empty for a row.
        arguments: arguments of `jaxnst.stylize`, `content` and `style` among them.
        sources: {name in the record: picture} of all pictures it is painted from.
        shape: height and width of the result, in pixels.
        work: pixels times steps, over all sizes.
        digests: {name in the record: SHA-256} of `sources`, once they were read.
        weights: SHA-256 of the user's weights file, once it was read; None for weights
            of the registry, and for a network that is an object.
        record: record of the picture at `output`, if it is there already, finished.
    """

    number: int
    place: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    arguments: Mapping[str, Any]
    config: TransferConfig
    sources: Mapping[str, Any]
    shape: tuple[int, int]
    work: float
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    weights: str | None = None
    output: Path | None = None
    record: Mapping[str, Any] | None = None

    @property
    def pictures(self) -> Hashable:
        """A key that is equal for jobs with the same pictures."""
        masks = _key_of(self.arguments.get("masks"))
        return *((name, _key_of(x)) for name, x in self.sources.items()), masks

    @property
    def program(self) -> Hashable:
        """A key that is equal for jobs painted by the same programs, at equal shape."""
        config = self.config
        fixed = [
            tuple(value) if isinstance(value, Mapping) else value
            for name, value in vars(config).items()
            if name not in DYNAMIC
        ]
        own = ()
        if "custom" in (config.network, config.optimizer):
            own = tuple(
                _key_of(self.arguments.get(x)) for x in ("network", "optimizer")
            )
        return *fixed, config.objective, own


class JobLoader:
    """Makes and loads jobs, and keeps what the next one needs again.

    `is_whole`: pictures are read to the end when they are checked, not only the header.
    """

    def __init__(self, *, is_whole: bool = True, progress: bool = True):
        self._is_whole = is_whole
        self._pictures: dict[Hashable, Picture] = {}
        # {key of a picture: (shape, SHA-256)}
        self._looks: dict[Hashable, tuple[tuple[int, int], str]] = {}
        self._loaded: tuple[Hashable, Job] | None = None
        self._header = functools.cache(check_picture)
        self._file_digest = functools.cache(file_sha256)
        self._set_up = functools.partial(
            set_up,
            progress=progress,
            picture_fn=self.picture,
            network_fn=functools.lru_cache(_MAX_NETWORKS)(load_used_network),
        )

    def make_job(
        self, arguments: Mapping[str, Any], **fields: Any
    ) -> tuple[PictureJob | None, list[Exception]]:
        """Return a job with these other fields, or why it cannot be painted."""
        settings = dict(arguments)
        content, style = settings.pop("content", None), settings.pop("style", None)
        config, problems = _settle(settings)
        pair = {"content": content, "style": style}
        problems += [
            ValueError(f"`{name}` is missing") for name, x in pair.items() if x is None
        ]
        sources = {} if content is None else {"content": content}
        if style is not None:
            styles = listed(style)
            sources |= name_styles(styles)
            try:
                check_styles(config.style_blend if config else None, len(styles))
            except ValueError as error:
                problems.append(error)
        sources |= _guides(settings, config)
        shape = (0, 0)
        for name, source in sources.items():
            try:
                size = self._shape(source, name.split()[0])
                if name == "content" and config is not None:
                    shape = result_shape(size, config.size, tile=config.tile)
            except FORESEEN as error:
                problems.append(error)
        if problems or config is None:
            return None, problems
        job = PictureJob(
            arguments=arguments,
            config=config,
            sources=sources,
            shape=shape,
            work=work_of(config, shape),
            **fields,
        )
        return job, []

    def identify(self, job: PictureJob) -> PictureJob:
        """Return a job with the hashes of its pictures and of its weights file."""
        digests = {
            name: self._file_digest(Path(source))
            if isinstance(source, str | os.PathLike)
            else self._look(source, name.split()[0])[1]
            for name, source in job.sources.items()
        }
        network = job.arguments.get("network") or job.config.network
        weights = None
        if not (isinstance(network, Network) or is_in_registry(network)):
            weights = self._file_digest(Path(network).expanduser())
        return dataclasses.replace(job, digests=digests, weights=weights)

    def load(self, job: PictureJob) -> Job:
        """Return pictures, settings and network of a job."""
        key = job.pictures, job.program
        preset = job.arguments.get("preset", "default")
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # frees its memory first
            pair = job.arguments["content"], job.arguments["style"]
            self._loaded = key, self._set_up(*pair, job.config, job.arguments)
        return self._loaded[1]._replace(config=job.config, preset=preset)

    def picture(
        self, source: PictureSource, *, argument: str, size: int | None = None
    ) -> Picture:
        """Return a picture, as `jaxnst.images.load_picture`.

        It is kept whole, whatever size is needed, as the next job may need another one.
        """
        key = _key_of(source)
        if key not in self._pictures:
            if len(self._pictures) == _MAX_PICTURES:
                del self._pictures[next(iter(self._pictures))]  # the oldest
            self._pictures[key] = load_picture(source, argument=argument)
        return self._pictures[key]

    def _look(self, source: PictureSource, argument: str) -> tuple[Any, str]:
        """Return shape and SHA-256 of a picture, which is read once."""
        key = _key_of(source)
        if key not in self._looks:
            found = self.picture(source, argument=argument)
            self._looks[key] = found.rgb.shape[:2], found.sha256
        return self._looks[key]

    def _shape(self, source: PictureSource, argument: str) -> tuple[int, int]:
        argument = "masks" if argument == "mask" else argument
        naming = naming_choices(source, INITS)
        with naming if argument == "init" else contextlib.nullcontext():
            if self._is_whole or not isinstance(source, str | os.PathLike):
                return self._look(source, argument)[0]
            return self._header(source, argument=argument)


def find_difference(
    record: Mapping[str, Any], job: PictureJob, *, are_objects_known: bool = False
) -> str | None:
    """Return in what a picture differs from the one asked for; None if it is the same.

    Versions and devices are not compared, nor how the file was written. The job must
    have its hashes, see `JobLoader.identify`. `are_objects_known` says that networks
    and optimizers which are objects, and which no record can hold, are the same.

    Raises:
        AttributeError, KeyError, TypeError: if the record is not whole.
    """
    wanted = json.loads(json.dumps(job.config.to_dict()))
    for name in ("network", "optimizer"):
        is_file = name == "network" and job.weights is not None
        if wanted[name] == "custom" and not (is_file or are_objects_known):
            return f"no record can tell whether its `{name}` was this one of yours"
    # A setting that its version did not know had no effect, and neither have defaults.
    made = json.loads(json.dumps(TransferConfig().to_dict())) | record["settings"]
    made.pop("regions", None)  # jaxnst 0.1.0 counted the masks there
    filters = [[x for x in each["finish"].items() if x[1]] for each in (wanted, made)]
    names = [name for name in wanted | made if name != "finish"]
    different = [name for name in names if wanted.get(name) != made.get(name)]
    if filters[0] != filters[1]:  # whose order counts
        different.append("finish")
    if different:
        name, *others = different
        more = f" (and {len(others)} settings more)" if others else ""
        values = [shown(x) for x in (made.get(name), wanted.get(name))]
        return f"its `{name}` is {values[0]}, not {values[1]}{more}"
    for name in {**job.digests, **record["inputs"]}:
        if record["inputs"].get(name, {}).get("sha256") != job.digests.get(name):
            return f"it was made from another {name} picture"
    if job.weights is not None and record["weights"]["sha256"] != job.weights:
        return "its network had other weights"
    return None


class SweepPlan(NamedTuple):
    """All pictures of a sweep.

    Attributes:
        jobs: one job for each member, in their order.
        identity: all that decides the pictures and that no record can tell, as JSON.
        inputs: {name: picture} of those that all members are painted from, small.
    """

    axes: Sequence[Axis]
    mode: str
    jobs: Sequence[PictureJob]
    identity: Mapping[str, Any]
    inputs: Mapping[str, PILImage.Image]


def plan_sweep(
    content: Any,
    style: Any,
    settings: Mapping[str, Any],
    *,
    mode: str,
    loader: JobLoader,
) -> SweepPlan:
    """Return the jobs of all members; reads every picture once."""
    axes, fixed = split_axes(content, style, settings, mode=mode)
    if not axes:
        raise ValueError(
            "nothing is swept; give a list for at least one setting, such as "
            "style_weight=[0.3, 1, 3]."
        )
    jobs = []
    for member in make_members(axes, mode):
        job, problems = loader.make_job(
            {**fixed, **member.settings},
            number=member.index,
            place=member.title,
            labels=member.labels,
        )
        if job is None:
            raise _in_member(problems[0], member.index, member.title)
        jobs.append(loader.identify(job))
    num_seeds = max(len(axis.values) * (axis.name == "seed") for axis in axes)
    has_noise = any(job.config.init == "noise" for job in jobs)
    if mode == "product" and num_seeds > 1 and not has_noise:
        raise ValueError(
            "`seed` has several values, but only noise differs by it, so the pictures "
            "would be the same; use `init` 'noise'."
        )
    inputs = {}
    for name, source in jobs[0].sources.items():
        argument = name.split()[0]
        is_shared = len({_key_of(job.sources.get(name)) for job in jobs}) == 1
        if argument in ("content", "style", "init") and is_shared:
            inputs[name] = to_pil(loader.picture(source, argument=argument).rgb)
            inputs[name].thumbnail((_THUMBNAIL, _THUMBNAIL))
    return SweepPlan(axes, mode, jobs, _identity(jobs), inputs)


def _settle(
    arguments: Mapping[str, Any],
) -> tuple[TransferConfig | None, list[Exception]]:
    """Return the settings that arguments come to, or an error for each bad one."""
    try:
        config = settle_config(**arguments)
        check_packages(config.finish)
        return config, []
    except FORESEEN as error:
        together = error
    found: list[Exception] = []
    basis: dict[str, Any] = {}
    for name in sorted(arguments, key=lambda name: name not in _BASIC):
        try:
            settle_config(**(basis | {name: arguments[name]}))
        except FORESEEN as error:
            found.append(error)
        else:
            if name in _BASIC:
                basis[name] = arguments[name]
    return None, found or [together]


def _guides(
    arguments: Mapping[str, Any], config: TransferConfig | None
) -> dict[str, Any]:
    """Return {name in the record: picture} besides content and styles."""
    found: dict[str, Any] = {}
    init = arguments.get("init")
    if init is not None and not (isinstance(init, str) and init in INITS):
        found["init"] = init
    if config is None:
        return found
    for mask in arguments.get("masks") or ():
        if not (isinstance(mask, str) and mask in MASK_NAMES):
            found[f"mask {1 + sum(name.startswith('mask') for name in found)}"] = mask
    if config.strength == STRENGTH_MAP:
        found["strength"] = arguments["strength"]
    return found


def listed(value: Any) -> list[Any]:
    """Return a list of one or several pictures."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _key_of(source: Any) -> Hashable:
    """Return a key that tells sources of pictures apart, while both are held."""
    if isinstance(source, list | tuple):
        return tuple(map(_key_of, source))
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return id(source)


def is_in_registry(network: str | os.PathLike[str]) -> bool:
    """Return whether a network is a name of the registry (`@` may give a revision)."""
    return str(network).partition("@")[0] in SPECS


def _in_member(error: Exception, index: int, title: str) -> Exception:
    """Return an error that says in which member of the sweep it was."""
    text = f"{one_line(error)} (in member {index}: {plain(title)})"
    kinds = (FileNotFoundError, IsADirectoryError, OSError, TypeError, ImportError)
    return next((x for x in kinds if isinstance(error, x)), ValueError)(text)


def _identity(jobs: Sequence[PictureJob]) -> dict[str, Any]:
    """Return the names of masks, and hashes of networks and optimizers of the user."""
    masks = [
        mask if isinstance(mask, str) and mask in MASK_NAMES else "picture"
        for mask in jobs[0].arguments.get("masks") or ()  # the same for all jobs
    ]
    networks = [job.arguments.get("network") for job in jobs]
    models = {id(x): x for x in networks if isinstance(x, Network)}
    optimizers = [job.arguments.get("optimizer") for job in jobs]
    # Nothing tells an optimizer from that of another process.
    own = dict.fromkeys(id(x) for x in optimizers if x and not isinstance(x, str))
    digests = [*map(_weights_digest, models.values())]
    return {"masks": masks, "weights": digests, "optimizers": [*own]}


def _weights_digest(network: Network) -> str:
    """Return the SHA-256 of a network's architecture and weights."""
    leaves, structure = jax.tree.flatten(network)
    digest = hashlib.sha256(repr(network).encode())
    digest.update(str(structure.num_leaves).encode())
    for leaf in leaves:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
