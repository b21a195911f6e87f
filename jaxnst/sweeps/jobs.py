"""The checked list of pictures to paint: the jobs of a sweep or of a table.

`sweep` and `batch` differ in how they write this list. Everything in it is checked
before anything is painted. A picture that is there already is told by the record
inside it, see `find_difference`.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image as PILImage

from jaxnst._checks import FORESEEN, one_line
from jaxnst.config import INITS, STRENGTH_MAP, TransferConfig
from jaxnst.images import (
    Picture,
    PictureSource,
    check_format,
    check_picture,
    load_picture,
    read_record,
    to_pil,
)
from jaxnst.networks import Network
from jaxnst.parsing import SETTINGS, parse_setting
from jaxnst.pretrained import SPECS
from jaxnst.pretrained.tensors import SUFFIXES, file_sha256
from jaxnst.transfer.inputs import check_styles, naming_inits, result_shape
from jaxnst.transfer.plan import work_of
from jaxnst.transfer.regions import MASK_NAMES
from jaxnst.transfer.result import FINISHED, name_styles
from jaxnst.transfer.setup import (
    Loaders,
    Prepared,
    load_used_network,
    prepare,
    settle_config,
)

from .axes import Axis, make_members, split_axes
from .table import Entry, JobTable


# Settings that are numbers in a program, or only read by Python.
DYNAMIC = (
    "strength",
    "detail",
    "finish",
    "content_weight",
    "style_weight",
    "tv_weight",
    "learning_rate",
    "decay",
    "tolerance",
    "max_seconds",
    "num_steps",
    "coarse_steps",
    "seed",
    "style_blend",
)
# Arguments that `settle_config` requires.
NOT_SET: Mapping[str, Any] = {
    "preset": "default",
    "init": None,
    "network": None,
    "optimizer": None,
}
# Settings that others depend on, so they are checked first.
_BASIC = ("preset", "network")
# Why pictures ended that are painted again.
_UNFINISHED = ("interrupted", "not finite")
# Pictures and networks kept in memory; a VGG-19 takes up to 200 MB.
_MAX_PICTURES = 8
_MAX_NETWORKS = 2
# Pictures at the head of a contact sheet are shrunk to this.
_THUMBNAIL = 512
# Parts of a name that is made from those of other files.
_MAX_STEM = 40
# Limit of file systems, in bytes.
_MAX_NAME = 255
# More problems are seldom read.
MAX_PROBLEMS = 20

# (number of the job, what is wrong with it)
Problem = tuple[int, str]


class BadJobs(ValueError):
    """Some jobs cannot be painted, so none was.

    Args:
        problems: one line for each problem, in the order of the jobs.

    Attributes:
        problems: one line for each problem, in the order of the jobs.
    """

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The first problems, and how many more there are."""
        more = len(self.problems) - MAX_PROBLEMS
        if more <= 0:
            return self.problems
        return *self.problems[:MAX_PROBLEMS], f"and {more} more"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureJob:
    """One picture to paint, checked.

    Attributes:
        number: index of the member, or number of the row.
        place: its name in messages, such as `style_weight 3` or `jobs.csv row 4`.
        labels: {axis: label} of the member; empty for a row.
        content: the content picture.
        style: the style picture, or a list of several.
        arguments: all other arguments of `jaxnst.stylize`.
        config: the settings that they come to.
        sources: {name in the record: picture} of all pictures it is painted from.
        shape: height and width of the result, in pixels.
        work: pixels times steps, over all sizes.
        digests: {name in the record: SHA-256} of `sources`, once they were read.
        weights: SHA-256 of the user's weights file, once it was read; None for weights
            of the registry, and for a network that is an object.
        output: path of the picture; None if it is not the job's business.
        record: record of the picture, if it is there already, finished.
    """

    number: int
    place: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    content: Any
    style: Any
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
        masks = _identify(self.arguments.get("masks"))
        return *((name, _identify(x)) for name, x in self.sources.items()), masks

    @property
    def program(self) -> Hashable:
        """A key that is equal for jobs painted by the same programs, at equal shape."""
        config = self.config
        fixed = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if field.name not in DYNAMIC
        }
        for name in ("content_layers", "style_layers", "style_loss"):
            fixed[name] = tuple(fixed[name])
        fixed["averaging"] = config.averaging > 0
        own = ()
        if "custom" in (config.network, config.optimizer):
            own = tuple(id(self.arguments.get(x)) for x in ("network", "optimizer"))
        return *sorted(fixed.items(), key=lambda item: item[0]), own


class JobLoader:
    """Reads and prepares what jobs need, and keeps what the next one needs again.

    Args:
        is_whole: read every picture to its end when it is checked, not only its header.
        progress: show a bar if weights have to be downloaded.
    """

    def __init__(self, *, is_whole: bool = True, progress: bool = True):
        self._is_whole, self._progress = is_whole, progress
        self._pictures: dict[Hashable, Picture] = {}
        self._looks: dict[Hashable, tuple[tuple[int, int], str]] = {}
        self._settled: dict[str, tuple[TransferConfig | None, list[Exception]]] = {}
        self._prepared: tuple[Hashable, Prepared] | None = None
        self._header = functools.cache(check_picture)
        self._file_digest = functools.cache(file_sha256)
        network_fn = functools.lru_cache(_MAX_NETWORKS)(load_used_network)
        self._loaders = Loaders(self.picture, network_fn)

    def picture(self, source: PictureSource, *, argument: str) -> Picture:
        """Return a picture, as `jaxnst.images.load_picture`.

        Args:
            source: path, PIL image or array.
            argument: its name in messages.
        """
        key = _identify(source)
        found = self._pictures.pop(key, None)
        while found is None and len(self._pictures) >= _MAX_PICTURES:
            del self._pictures[next(iter(self._pictures))]
        if found is None:
            found = load_picture(source, argument=argument)
        self._pictures[key] = found  # the last used is the last to be dropped
        height, width = found.rgb.shape[:2]
        self._looks[key] = (height, width), found.sha256
        return found

    def shape(self, source: PictureSource, argument: str) -> tuple[int, int]:
        """Return height and width of a picture, in pixels.

        Args:
            source: path, PIL image or array.
            argument: its name in messages.

        Raises:
            ValueError, TypeError, OSError: if it cannot be read.
        """
        if not self._is_whole and isinstance(source, str | os.PathLike):
            return self._header(source, argument=argument)
        key = _identify(source)
        if key not in self._looks:
            self.picture(source, argument=argument)
        return self._looks[key][0]

    def settle(
        self, arguments: Mapping[str, Any]
    ) -> tuple[TransferConfig | None, list[Exception]]:
        """Return the settings that arguments come to, or an error for each bad one.

        Args:
            arguments: arguments of `jaxnst.stylize`, without the pictures.
        """
        if isinstance(arguments.get("network"), Network):
            return _settle(arguments)  # its text is long
        # It may have to look into a file of weights, which can be slow.
        key = repr(sorted(arguments.items(), key=lambda item: item[0]))
        if key not in self._settled:
            self._settled[key] = _settle(arguments)
        return self._settled[key]

    def identified(self, job: PictureJob) -> PictureJob:
        """Return the job with the hashes of its pictures and of its weights file.

        Args:
            job: the job.

        Raises:
            OSError, ValueError: if a file cannot be read.
        """
        digests = {
            name: self._digest(x, name.split()[0]) for name, x in job.sources.items()
        }
        network = job.arguments.get("network") or job.config.network
        weights = None
        if not (isinstance(network, Network) or _is_in_registry(network)):
            weights = self._file_digest(Path(network).expanduser())
        return dataclasses.replace(job, digests=digests, weights=weights)

    def prepare(self, job: PictureJob) -> Prepared:
        """Return pictures, settings and network of a job.

        Args:
            job: the job.

        Raises:
            ValueError, TypeError, OSError: if something is unusable.
        """
        key = job.pictures, job.program
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = None  # frees its memory first
            prepared = prepare(
                job.content,
                job.style,
                progress=self._progress,
                loaders=self._loaders,
                **job.arguments,
            )
            self._prepared = key, prepared
        shared = self._prepared[1]
        # The number of regions is known only once the masks are read.
        config = dataclasses.replace(job.config, regions=shared.config.regions)
        return shared._replace(config=config)

    def _digest(self, source: PictureSource, argument: str) -> str:
        if isinstance(source, str | os.PathLike):
            return self._file_digest(Path(source))
        key = _identify(source)
        if key not in self._looks:
            self.picture(source, argument=argument)
        return self._looks[key][1]


def make_job(
    arguments: Mapping[str, Any],
    loader: JobLoader,
    *,
    number: int,
    place: str,
    labels: Mapping[str, str] | None = None,
) -> tuple[PictureJob | None, list[Exception]]:
    """Return a job, or every reason why it cannot be painted.

    Args:
        arguments: arguments of `jaxnst.stylize`; those that are not set are missing.
        loader: reads settings and pictures.
        number: index of the member, or number of the row.
        place: its name in messages.
        labels: {axis: label} of a member.
    """
    rest = {**NOT_SET, **arguments}
    content, style = rest.pop("content", None), rest.pop("style", None)
    config, problems = loader.settle(rest)
    problems = list(problems)
    sources: dict[str, Any] = {} if content is None else {"content": content}
    if style is not None:
        styles = list(style) if isinstance(style, list | tuple) else [style]
        sources |= name_styles(styles)
        try:
            check_styles(config.style_blend if config else None, len(styles))
        except ValueError as error:
            problems.append(error)
    for name, value in (("content", content), ("style", style)):
        if value is None:
            problems.append(ValueError(f"`{name}` is missing"))
    sources |= _guides(rest, config)
    shape = (0, 0)
    for name, source in sources.items():
        argument = {"mask": "masks"}.get(name.split()[0], name.split()[0])
        try:
            found = _shape(loader, source, argument)
            if name == "content" and config is not None:
                shape = result_shape(found, config.size, tile=config.tile)
        except FORESEEN as error:
            problems.append(error)
    if problems or config is None:
        return None, problems
    job = PictureJob(
        number=number,
        place=place,
        labels=labels or {},
        content=content,
        style=style,
        arguments=rest,
        config=config,
        sources=sources,
        shape=shape,
        work=work_of(config, shape),
    )
    return job, []


def find_difference(
    record: Mapping[str, Any], job: PictureJob, *, are_objects_known: bool = False
) -> str | None:
    """Return in what a picture differs from the one asked for; None if it is the same.

    Versions and devices are not compared, nor how the file was written.

    Args:
        record: record of the picture.
        job: the picture asked for, with its hashes, see `JobLoader.identified`.
        are_objects_known: whether networks and optimizers that are objects, which no
            record can hold, are known to be the same.

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
    for settings in (wanted, made):
        settings.pop("regions", None)  # follows from the masks
    different = [name for name in wanted | made if wanted.get(name) != made.get(name)]
    if different:
        name, *others = different
        more = f" (and {len(others)} settings more)" if others else ""
        return f"its `{name}` is {made.get(name)}, not {wanted.get(name)}{more}"
    for name in {**job.digests, **record["inputs"]}:
        if record["inputs"].get(name, {}).get("sha256") != job.digests.get(name):
            return f"it was made from another {name} picture"
    if job.weights is not None and record["weights"]["sha256"] != job.weights:
        return "its network had other weights"
    return None


def is_finished(record: Mapping[str, Any]) -> bool:
    """Whether a picture was painted to its end; else it is to be painted again.

    Args:
        record: record of the picture.

    Raises:
        KeyError, TypeError: if the record is not whole.
        ValueError: if the user ended it early, as by a callback.
    """
    stopped = record["result"]["stopped"]
    if stopped not in (*FINISHED, *_UNFINISHED):
        raise ValueError(f"it was ended early ({stopped})")
    return stopped in FINISHED


class SweepPlan(NamedTuple):
    """All pictures of a sweep.

    Attributes:
        axes: settings that differ.
        mode: "product" or "zip".
        jobs: one job for each member, in their order.
        identity: everything that decides the pictures besides the axes, as JSON can
            hold it.
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
    """Return the jobs of all members; reads every picture once.

    Args:
        content: a picture, or a list of pictures.
        style: a picture, or a list of pictures.
        settings: arguments of `jaxnst.stylize`, or lists of them; None where not set.
        mode: "product" or "zip".
        loader: reads the pictures.

    Raises:
        ValueError, TypeError, OSError: if anything is unusable; says in which member.
    """
    axes, fixed = split_axes(content, style, settings, mode=mode)
    if not axes:
        raise ValueError(
            "nothing is swept; give a list for at least one setting, such as "
            "style_weight=[0.3, 1, 3]."
        )
    jobs = []
    for member in make_members(axes, mode):
        job, problems = make_job(
            {**fixed, **member.settings},
            loader,
            number=member.index,
            place=member.title,
            labels=member.labels,
        )
        if job is None:
            raise _in_member(problems[0], member.index, member.title)
        jobs.append(loader.identified(job))
    inputs = {}
    for name, source in jobs[0].sources.items():
        argument = name.split()[0]
        is_shared = len({_identify(job.sources.get(name)) for job in jobs}) == 1
        if argument in ("content", "style", "init") and is_shared:
            inputs[name] = to_pil(loader.picture(source, argument=argument).rgb)
            inputs[name].thumbnail((_THUMBNAIL, _THUMBNAIL))
    identity = _identity(jobs, [axis.name for axis in axes])
    return SweepPlan(axes, mode, jobs, identity, inputs)


def plan_table(
    table: JobTable,
    output: str | os.PathLike[str],
    *,
    defaults: Mapping[str, Any],
    overwrite: bool = False,
    bits: int = 8,
    quality: int = 95,
) -> list[PictureJob]:
    """Return the jobs of a table; of pictures only the headers are read.

    Args:
        table: what is to be painted.
        output: folder for the pictures.
        defaults: {column: value} of all rows that do not say otherwise; they precede
            those of the table.
        overwrite: replace files that are something else.
        bits: bits per channel of the files, 8 or 16.
        quality: quality of JPEG and WebP, 1 to 100.

    Raises:
        BadJobs: naming everything that is wrong.
        ValueError: if `bits` or `quality` is out of range.
    """
    check_format("any.png", bits=bits, quality=quality)
    folder = Path(output)
    loader = JobLoader(is_whole=False)
    problems: list[Problem] = [*table.problems, *_folder_problems(folder)]
    common = place_paths(table.defaults, table.folder) | dict(defaults)
    drafts = []
    for entry in table.items:
        values = common | place_paths(entry.values, table.folder)
        draft, wrong = _draft(entry, values, table, folder, loader, bits, quality)
        drafts.append(draft)
        problems += [(entry.number, text) for text in wrong]
    problems += _clashes(drafts, table.noun)
    bad = {number for number, _ in problems}
    jobs = []
    for draft in drafts:
        if draft.job is None or draft.number in bad:
            continue
        job = draft.job
        try:
            job = _resumed(job, loader)
        except (OSError, ValueError) as error:
            if not overwrite:
                text = (
                    f"output {draft.output} is there already, and {one_line(error)}; "
                    "`overwrite` replaces it, or give another `output`"
                )
                problems.append((draft.number, text))
        jobs.append(job)
    if problems:
        raise BadJobs(_as_lines(problems, table))
    return jobs


class _Draft(NamedTuple):
    number: int
    arguments: Mapping[str, Any]
    output: Path | None
    job: PictureJob | None


def _draft(
    entry: Entry,
    values: Mapping[str, Any],
    table: JobTable,
    folder: Path,
    loader: JobLoader,
    bits: int,
    quality: int,
) -> tuple[_Draft, list[str]]:
    """Return a row as it is to be painted, and all that is wrong with it."""
    wrong: list[str] = []
    arguments: dict[str, Any] = {}
    for name in SETTINGS:
        if name in values:
            try:
                arguments[name] = parse_setting(name, values[name])
            except ValueError as error:
                wrong.append(f"`{name}`: {error}")
    if isinstance(arguments.get("strength"), str):
        wrong.append("`strength` is a number from 0 to 1 here; maps are for `stylize`")
        del arguments["strength"]
    arguments |= {name: values[name] for name in ("content", "style") if name in values}
    if (styles := listed_styles(values.get("style"))) is not None:
        arguments["style"] = styles
    job, problems = make_job(
        arguments, loader, number=entry.number, place=table.place(entry.number)
    )
    wrong += map(one_line, problems)
    output = None
    try:
        output = folder / _output_name(entry, values, bits=bits, quality=quality)
        if output.is_dir():
            wrong.append(f"output {output} is a folder")
    except (TypeError, ValueError) as error:
        wrong.append(str(error))
    if job is not None:
        job = dataclasses.replace(job, output=output)
    return _Draft(entry.number, arguments, output, job), wrong


def place_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return values with relative paths made to start in a folder.

    Args:
        values: {column: value}.
        folder: folder of the table.
    """

    def placed(value: Any) -> Any:
        is_path = isinstance(value, str | os.PathLike)
        return folder / Path(value).expanduser() if is_path else value

    found = dict(values)
    for name in ("content", "style", "init", "network"):
        value = values.get(name)
        if name == "style" and (styles := listed_styles(value)) is not None:
            found[name] = [placed(each) for each in styles]
        elif isinstance(value, str | os.PathLike):
            is_name = name == "init" and value in INITS
            if name == "network" and isinstance(value, str):
                path = placed(value)
                is_file = path.suffix.lower() in SUFFIXES or path.is_file()
                is_name = _is_in_registry(value) or not ("/" in value or is_file)
            found[name] = value if is_name else placed(value)
    return found


def listed_styles(value: object) -> list[Any] | None:
    """Return several styles that are blended; None if it is one.

    Args:
        value: a list, or the text of a cell with semicolons: `wave.jpg; night.jpg`.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and ";" in value:
        return [part.strip() for part in value.split(";") if part.strip()]
    return None


def _settle(
    arguments: Mapping[str, Any],
) -> tuple[TransferConfig | None, list[Exception]]:
    try:
        return settle_config(**arguments), []
    except FORESEEN as error:
        together = error
    found: list[Exception] = []
    basis = dict(NOT_SET)
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
    init = arguments["init"]
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


def _shape(loader: JobLoader, source: PictureSource, argument: str) -> tuple[int, int]:
    if argument != "init":
        return loader.shape(source, argument)
    with naming_inits(source):
        return loader.shape(source, argument)


def _identify(source: Any) -> Hashable:
    """Return a key that tells sources of pictures apart, while both are held."""
    if isinstance(source, list | tuple):
        return tuple(map(_identify, source))
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return id(source)


def _is_in_registry(network: str | os.PathLike[str]) -> bool:
    return str(network).partition("@")[0] in SPECS


def _in_member(error: Exception, index: int, title: str) -> Exception:
    """Return an error that says in which member of the sweep it was."""
    text = f"{one_line(error)} (in member {index}: {title})"
    for kind in (FileNotFoundError, IsADirectoryError, OSError, TypeError, ImportError):
        if isinstance(error, kind):
            return kind(text)
    return ValueError(text)


def _identity(jobs: Sequence[PictureJob], axes: Sequence[str]) -> dict[str, Any]:
    """Return everything that decides the pictures besides the axes."""
    configs = [json.loads(json.dumps(job.config.to_dict())) for job in jobs]
    identity: dict[str, Any] = {
        name: value
        for name, value in configs[0].items()
        # A setting that differs and is no axis follows from one, such as a preset.
        if name not in axes and all(config[name] == value for config in configs)
    }
    found: dict[str, dict[str, None]] = {}
    for job in jobs:
        for name, digest in job.digests.items():
            found.setdefault(f"{name.split()[0]} picture", {})[digest] = None
        for mask in job.arguments.get("masks") or ():
            name = mask if isinstance(mask, str) and mask in MASK_NAMES else "picture"
            found.setdefault("masks", {})[name] = None
    networks = {id(x): x for job in jobs if (x := job.arguments["network"]) is not None}
    digests = [_weights_digest(x) for x in networks.values() if isinstance(x, Network)]
    digests += [job.weights for job in jobs if job.weights is not None]
    found["weights"] = dict.fromkeys(digests)
    identity |= {name: list(values) for name, values in found.items()}
    if any(job.config.optimizer == "custom" for job in jobs):
        # Nothing tells an optimizer from that of another process.
        optimizers = {id(job.arguments["optimizer"]) for job in jobs}
        identity["optimizer"] = f"custom {sorted(optimizers)}"
    return identity


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


def _folder_problems(folder: Path) -> Iterator[Problem]:
    """Say why the folder cannot be made or written to; nothing is made."""
    existing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        yield 0, f"output {folder}: {existing} is a file; give a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield 0, f"output {folder}: {existing} cannot be written to"


def _clashes(drafts: Sequence[_Draft], noun: str) -> Iterator[Problem]:
    """Say which outputs would replace each other, or a picture that is read."""
    inputs: dict[tuple[int, int], str] = {}
    for draft in drafts:
        for name in ("content", "style", "init"):
            value = draft.arguments.get(name)
            for source in value if isinstance(value, list) else [value]:
                if isinstance(source, str | os.PathLike) and Path(source).exists():
                    inputs.setdefault(_inode(Path(source)), name)
    taken: dict[str, _Draft] = {}
    for draft in drafts:
        output = draft.output
        if output is None:
            continue
        # Disks of Macs and Windows do not tell `a.png` from `A.png`.
        first = taken.setdefault(str(output).casefold(), draft)
        if first is not draft:
            case = "" if first.output == output else f" ({first.output})"
            text = f"output {output} is that of {noun} {first.number}, too{case}"
            yield draft.number, text
        if output.exists() and (name := inputs.get(_inode(output))):
            text = f"output {output} is a {name} picture; choose another"
            yield draft.number, text


def _inode(path: Path) -> tuple[int, int]:
    """Return a key that is the same for all names of a file."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _resumed(job: PictureJob, loader: JobLoader) -> PictureJob:
    """Return a job, with its record if its picture is there, finished.

    Raises:
        ValueError, OSError: if something else is there.
    """
    if job.output is None or not job.output.exists():
        return job
    job = loader.identified(job)
    try:
        record = read_record(job.output)
    except ValueError:
        raise ValueError("jaxnst did not make it") from None
    try:
        if (difference := find_difference(record, job)) is not None:
            raise ValueError(difference)
        return dataclasses.replace(job, record=record if is_finished(record) else None)
    except (AttributeError, KeyError, TypeError):
        raise ValueError("its record is not whole") from None


def _as_lines(problems: Sequence[Problem], table: JobTable) -> Iterator[str]:
    """Yield problems as lines; a problem of every row is said once."""
    counts = Counter(text for number, text in set(problems) if number)
    said: set[str] = set()
    for number, text in sorted(problems, key=lambda problem: problem[0]):
        if 1 < len(table.items) == counts[text]:
            if text not in said:
                yield f"{table.place(0)}, every {table.noun}: {text}"
            said.add(text)
        else:
            yield f"{table.place(number)}: {text}"


def _output_name(
    entry: Entry, values: Mapping[str, Any], *, bits: int, quality: int
) -> Path:
    """Return the name of a row's picture in the folder.

    Raises:
        ValueError: if there can be no such picture in it.
        TypeError: if it is no name.
    """
    given = values.get("output")
    if given is None:
        stems = (_stem(values.get(name), name) for name in ("content", "style"))
        return Path(f"{entry.number:03d}_{'_'.join(stems)}.png")
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"`output` must be the name of a file, got {given!r}.")
    path = Path(given)
    if path.is_absolute() or path.drive or ".." in path.parts:
        raise ValueError(
            f"output {path} is outside of the folder for the pictures; give a name in "
            "it."
        )
    check_format(path, bits=bits, quality=quality)
    if max(len(os.fsencode(part)) for part in path.parts) > _MAX_NAME:
        raise ValueError(
            f"output {path.name[:_MAX_STEM]}...: a name may have {_MAX_NAME} bytes."
        )
    return path


def _stem(source: object, name: str) -> str:
    if (styles := listed_styles(source)) is not None:
        return "+".join(_stem(each, name) for each in styles)[:_MAX_STEM]
    if isinstance(source, str | os.PathLike):
        return Path(source).stem[:_MAX_STEM]
    return name
