"""What a sweep will paint: checked whole before any of it is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image as PILImage

from jaxnst._checks import FORESEEN, one_line
from jaxnst.images import PictureSource, to_pil
from jaxnst.networks import Network
from jaxnst.transfer.inputs import check_styles, naming_inits, result_shape
from jaxnst.transfer.plan import work_of
from jaxnst.transfer.regions import MASK_NAMES

from .axes import make_members, split_axes
from .jobs_check import Files
from .members import Axis, Member
from .studio import Studio, Task, identify, make_task


_GUIDING = ("masks", "strength")
# Pictures at the head of a contact sheet are shrunk to this.
_THUMBNAIL = 512


class Assignment(NamedTuple):
    """One member and what its painting takes.

    Attributes:
        member: which one.
        task: what is painted.
        shape: height and width of the result.
        work: pixels times steps, over all sizes.
    """

    member: Member
    task: Task
    shape: tuple[int, int]
    work: float


class Brief(NamedTuple):
    """All that a sweep will paint.

    Attributes:
        axes: what differs.
        mode: "product" or "zip".
        assignments: one for each member, in their order.
        identity: what decides the pictures besides the axes, as JSON can hold it.
        inputs: {argument: picture} of what all members are painted from, small.
    """

    axes: Sequence[Axis]
    mode: str
    assignments: Sequence[Assignment]
    identity: Mapping[str, Any]
    inputs: Mapping[str, PILImage.Image]

    @property
    def members(self) -> list[Member]:
        """All of them, in order."""
        return [assignment.member for assignment in self.assignments]


def make_brief(
    content: Any,
    style: Any,
    settings: Mapping[str, Any],
    *,
    mode: str,
    studio: Studio,
) -> Brief:
    """Check all members of a sweep, and read all of its pictures once.

    Args:
        content: a picture, or a list of them.
        style: likewise.
        settings: arguments of `jaxnst.stylize`, or lists of them; None where not set.
        mode: "product" or "zip".
        studio: which keeps some of the pictures.

    Raises:
        ValueError, TypeError, OSError: if anything is unusable; says in which member.
    """
    axes, fixed = split_axes(content, style, settings, mode=mode)
    if not axes:
        raise ValueError(
            "nothing is swept; give a list for at least one setting, such as "
            "style_weight=[0.3, 1, 3]."
        )
    members = make_members(axes, mode)
    looks = _Looks(studio)
    assignments = []
    for member in members:
        try:
            task = make_task({**fixed, **member.settings})
            shape = _check_pictures(task, looks)
        except FORESEEN as error:
            raise _of_member(error, member) from None
        work = work_of(task.config, shape)
        assignments.append(Assignment(member, task, shape, work))
    tasks = [assignment.task for assignment in assignments]
    identity = _identity(tasks, [axis.name for axis in axes], looks)
    inputs = {}
    for argument in ("content", "style", "init"):
        sources = {identify(task.sources.get(argument)) for task in tasks}
        source = tasks[0].sources.get(argument)
        if len(sources) == 1 and source is not None:
            several = list(source) if isinstance(source, list | tuple) else [source]
            for number, each in enumerate(several, start=1):
                name = argument if len(several) == 1 else f"{argument} {number}"
                rgb = studio.load_picture(each, argument=argument).rgb
                inputs[name] = to_pil(rgb)
                inputs[name].thumbnail((_THUMBNAIL, _THUMBNAIL))
    return Brief(axes, mode, assignments, identity, inputs)


class _Looks:
    """The shape and the hash of every picture, each read once."""

    def __init__(self, studio: Studio):
        self._studio = studio
        self._seen: dict[Any, tuple[tuple[int, ...], str]] = {}

    def shape(self, source: PictureSource, argument: str) -> tuple[int, ...]:
        return self._look(source, argument)[0]

    def digest(self, source: PictureSource, argument: str) -> str:
        return self._look(source, argument)[1]

    def _look(self, source: PictureSource, argument: str) -> tuple[Any, str]:
        key = identify(source)
        if key not in self._seen:
            picture = self._studio.load_picture(source, argument=argument)
            self._seen[key] = picture.rgb.shape, picture.sha256
        return self._seen[key]


def _check_pictures(task: Task, looks: _Looks) -> tuple[int, int]:
    """Return height and width of the result."""
    styles = _listed(task.style)
    check_styles(task.config.style_blend, len(styles))
    shape = result_shape(
        looks.shape(task.content, "content"), task.config.size, tile=task.config.tile
    )
    for style in styles:
        looks.shape(style, "style")
    if "init" in task.sources:
        with naming_inits(task.sources["init"]):
            looks.shape(task.sources["init"], "init")
    for argument in _GUIDING:
        for source in _listed(task.sources.get(argument, [])):
            if not (isinstance(source, str) and source in MASK_NAMES):
                looks.shape(source, argument)
    return shape


def _identity(
    tasks: Sequence[Task], axes: Sequence[str], looks: _Looks
) -> dict[str, Any]:
    """Return what besides the axes' labels decides the pictures."""
    configs = [json.loads(json.dumps(task.config.to_dict())) for task in tasks]
    identity: dict[str, Any] = {
        name: value
        for name, value in configs[0].items()
        # What differs and is no axis follows from one, as a preset's settings do.
        if name not in axes and all(config[name] == value for config in configs)
    }
    for argument in ("content", "style", "init", *_GUIDING):
        digests = [
            source
            if isinstance(source, str) and source in MASK_NAMES
            else looks.digest(source, argument)
            for task in tasks
            for source in _listed(task.sources.get(argument, []))
        ]
        if digests:
            identity[f"{argument} picture"] = list(dict.fromkeys(digests))
    files = Files()
    networks = [task.arguments["network"] or task.config.network for task in tasks]
    weights = [
        weights_digest(network)
        if isinstance(network, Network)
        else files.weights(network)
        for network in {id(network): network for network in networks}.values()
    ]
    identity["weights"] = list(dict.fromkeys(filter(None, weights)))
    if any(task.config.optimizer == "custom" for task in tasks):
        # Nothing tells it from another one in another process.
        optimizers = {id(task.arguments["optimizer"]) for task in tasks}
        identity["optimizer"] = f"custom {sorted(optimizers)}"
    return identity


def weights_digest(network: Network) -> str:
    """Return the SHA-256 of a network's shape and weights."""
    leaves, structure = jax.tree.flatten(network)
    digest = hashlib.sha256(repr(network).encode())
    digest.update(str(structure.num_leaves).encode())
    for leaf in leaves:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _of_member(error: BaseException, member: Member) -> Exception:
    """Return an error that says in which member of the sweep it was."""
    text = f"{one_line(error)} (in member {member.index}: {member.title})"
    for kind in (FileNotFoundError, IsADirectoryError, OSError, TypeError, ImportError):
        if isinstance(error, kind):
            return kind(text)
    return ValueError(text)


def _listed(source: Any) -> list[Any]:
    return list(source) if isinstance(source, list | tuple) else [source]
