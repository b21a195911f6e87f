"""What the members of a sweep have in common, loaded and measured once.

Pictures, networks, and what the pictures aim at are kept from one member to the next,
as long as they are the same.
"""

import dataclasses
import functools
import os
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from jaxnst.calls import Call
from jaxnst.config import DYNAMIC, STRENGTH_MAP, TransferConfig
from jaxnst.images import Picture, PictureSource, load_picture
from jaxnst.transfer.plan import compiled_targets
from jaxnst.transfer.setup import (
    Loaders,
    Prepared,
    load_used_network,
    prepare,
    settle_config,
)

from .keeping import Kept


# Pictures that are held; the others are read again.
_MAX_PICTURES = 8
_OBJECTS = ("init", "network", "optimizer")


class Task(NamedTuple):
    """One member, as it will be painted.

    Attributes:
        content: the picture.
        style: the picture, or several.
        arguments: of `jaxnst.transfer.setup.prepare`, without the pictures.
        config: the settings they come to.
    """

    content: Any
    style: Any
    arguments: Mapping[str, Any]
    config: TransferConfig

    @property
    def preset(self) -> str:
        """From which the settings started."""
        return self.arguments["preset"]

    @property
    def sources(self) -> Mapping[str, Any]:
        """{argument: picture or pictures} that it is painted from."""
        sources = {"content": self.content, "style": self.style}
        if self.config.init == "image":
            sources["init"] = self.arguments["init"]
        if self.arguments.get("masks") is not None:
            sources["masks"] = self.arguments["masks"]
        if self.config.strength == STRENGTH_MAP:
            sources["strength"] = self.arguments["strength"]
        return sources

    @property
    def pictures(self) -> Hashable:
        """Which pictures it is painted from, apart from how."""
        return tuple(map(identify, self.sources.values()))

    @property
    def program(self) -> Hashable:
        """Which programs paint it, apart from the shapes of the pictures."""
        config = self.config
        fixed = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if field.name not in DYNAMIC
        }
        for name in ("content_layers", "style_layers", "style_loss"):
            fixed[name] = tuple(fixed[name])
        fixed["averaging"] = config.averaging > 0
        objects = id(self.arguments["network"]), id(self.arguments["optimizer"])
        own = objects if "custom" in (config.network, config.optimizer) else ()
        return *sorted(fixed.items(), key=lambda item: item[0]), own


def make_task(settings: Mapping[str, Any]) -> Task:
    """Return what is painted with some arguments of `jaxnst.stylize`; all are checked.

    Raises:
        ValueError, TypeError, OSError: if a setting is unusable.
    """
    arguments: dict[str, Any] = {"preset": "default"}
    arguments |= dict.fromkeys(_OBJECTS) | dict(settings)
    content, style = arguments.pop("content"), arguments.pop("style")
    return Task(content, style, arguments, settle_config(**arguments))


class Studio:
    """Prepares tasks, and keeps what the next one may need again.

    Args:
        progress: show a bar if weights have to be downloaded.
        num_kept: of how many tasks at a time the pictures' targets are kept.
        metrics: whether results are measured.
    """

    def __init__(
        self, *, progress: bool = True, num_kept: int = 1, metrics: bool = False
    ):
        self._progress = progress
        self.metrics = metrics
        self._pictures = Kept(_MAX_PICTURES)
        self._networks = Kept(1)
        self._prepared = Kept(1)
        self._targets = Kept(num_kept)
        self._loaders = Loaders(self.load_picture, self._load_network)

    def prepare(self, task: Task) -> Prepared:
        """Return what a task needs.

        Raises:
            ValueError, TypeError, OSError: if something is unusable.
        """
        # Its number of styles is checked against the blend there, so that counts, too.
        shared = self._prepared.get(
            (task.pictures, task.program, task.config.style_blend is None),
            lambda: prepare(
                task.content,
                task.style,
                progress=self._progress,
                loaders=self._loaders,
                **task.arguments,
            ),
        )
        # How many regions there are is known once their pictures are read.
        config = dataclasses.replace(task.config, regions=shared.config.regions)
        return shared._replace(config=config)

    def make_call(self, task: Task, call: Call) -> Any:
        """Make a call of a task; targets that were measured before are not again."""
        if call.function is not compiled_targets:
            return call.make()
        network, content, *_ = call.args
        key = task.pictures, task.program, task.config.style_blend, network.memory
        sizes = self._targets.get(key, dict)
        if content.shape not in sizes:
            sizes[content.shape] = call.make()
        return sizes[content.shape]

    def load_picture(self, source: PictureSource, *, argument: str) -> Picture:
        """Return a picture, as `jaxnst.images.load_picture`."""
        return self._pictures.get(
            identify(source), lambda: load_picture(source, argument=argument)
        )

    def _load_network(self, place: str, **options: Any) -> Any:
        return self._networks.get(
            (place, *sorted(options.items())),
            functools.partial(load_used_network, place, **options),
        )


def identify(source: Any) -> Hashable:
    """Return what tells one source of pictures from another, while both are held."""
    if isinstance(source, list | tuple):
        return tuple(map(identify, source))
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return id(source)
