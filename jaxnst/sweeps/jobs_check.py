"""One job checked by itself: its settings, its pictures, the name of its output."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxnst._checks import FORESEEN, one_line
from jaxnst.config import INITS, SETTINGS, TransferConfig, parse_setting
from jaxnst.images import PictureSource, check_format, check_picture, load_picture
from jaxnst.images.files import file_sha256
from jaxnst.networks import Network
from jaxnst.pretrained import SPECS
from jaxnst.pretrained.formats import SUFFIXES
from jaxnst.transfer.inputs import check_styles, naming_inits, result_shape
from jaxnst.transfer.plan import work_of
from jaxnst.transfer.result import name_styles
from jaxnst.transfer.setup import settle_config

from .jobs_file import Job


# What `settle_config` has to be given.
NOT_SET: dict[str, Any] = {
    "preset": "default",
    "init": None,
    "network": None,
    "optimizer": None,
}
# What others depend on, so it is looked at first.
_BASIC = ("preset", "network")
# Parts of a name that is made from those of other files.
_MAX_STEM = 40
# What file systems allow, in bytes.
_MAX_NAME = 255


class Draft(NamedTuple):
    """A job that was checked by itself.

    Attributes:
        job: as it was asked for.
        pictures: {what its record calls it: the picture}.
        style: the picture, or a list of them.
        settings: {other argument of `jaxnst.stylize`: value}.
        config: what they come to; None if they are wrong.
        output: where the picture goes; None if its name is wrong.
        work: pixels times steps, over all sizes.
    """

    job: Job
    pictures: Mapping[str, Any]
    style: Any
    settings: Mapping[str, Any]
    config: TransferConfig | None
    output: Path | None
    work: float


class Files:
    """What is known of files; each is looked at once, however many jobs it is in."""

    def __init__(self) -> None:
        self._settled: dict[str, tuple[TransferConfig | None, list[str]]] = {}
        self._shape = functools.cache(check_picture)
        self._digest = functools.cache(file_sha256)

    def settle(
        self, settings: dict[str, Any]
    ) -> tuple[TransferConfig | None, list[str]]:
        """Return what settings come to, or what is wrong with each of them.

        It may take a look into a file of weights, which can be slow.
        """
        if isinstance(settings.get("network"), Network):
            return _settle(settings)
        key = repr(sorted(settings.items()))
        if key not in self._settled:
            self._settled[key] = _settle(settings)
        return self._settled[key]

    def shape(self, source: PictureSource, argument: str) -> tuple[int, int]:
        """Return height and width of a picture, as `check_picture`."""
        if isinstance(source, str | os.PathLike):
            return self._shape(source, argument=argument)
        return check_picture(source, argument=argument)

    def digest(self, source: PictureSource) -> str:
        """Return the SHA-256 that a record has of a picture."""
        if isinstance(source, str | os.PathLike):
            return self._digest(Path(source))
        return load_picture(source).sha256

    def weights(self, network: str | os.PathLike[str] | Network) -> str | None:
        """Return the SHA-256 of the user's file of weights; None if it is none."""
        if isinstance(network, Network) or str(network).partition("@")[0] in SPECS:
            return None
        return self._digest(Path(network).expanduser())


def place_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return values whose relative paths start in a folder."""
    placed = dict(values)
    for name in ("content", "style", "init", "network"):
        value = values.get(name)
        if name == "style" and (styles := listed_styles(value)) is not None:
            placed[name] = [
                folder / Path(each).expanduser()
                if isinstance(each, str | os.PathLike)
                else each
                for each in styles
            ]
            continue
        if not isinstance(value, str | os.PathLike):
            continue
        path = folder / Path(value).expanduser()
        if name == "init" and value in INITS:
            continue
        if name == "network" and isinstance(value, str):
            is_name = value.partition("@")[0] in SPECS
            is_path = "/" in value or path.suffix.lower() in SUFFIXES or path.is_file()
            if is_name or not is_path:
                continue
        placed[name] = path
    return placed


def listed_styles(value: object) -> list[Any] | None:
    """Return several styles that are blended; None if it is one.

    In a cell they are separated by semicolons: `wave.jpg; night.jpg`.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and ";" in value:
        return [part.strip() for part in value.split(";") if part.strip()]
    return None


def check_job(
    job: Job,
    values: Mapping[str, Any],
    folder: Path,
    files: Files,
    *,
    bits: int,
    quality: int,
) -> tuple[Draft, list[str]]:
    """Return a job as it is to be painted, and all that is wrong with it.

    Args:
        job: as it was asked for.
        values: {column: value} of the job and of all defaults.
        folder: for the pictures.
        files: what is known already.
        bits: as for `jaxnst.Result.save`.
        quality: likewise.
    """
    wrong: list[str] = []
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        if name in values:
            try:
                settings[name] = parse_setting(name, values[name])
            except ValueError as error:
                wrong.append(f"`{name}`: {error}")
    if isinstance(settings.get("strength"), str):
        wrong.append("`strength` is a number from 0 to 1 here; maps are for `stylize`")
        del settings["strength"]
    config, bad_settings = files.settle(settings)
    wrong += bad_settings
    pictures: dict[str, Any] = {}
    style: Any = values.get("style")
    for name in ("content", "style"):
        if name not in values:
            wrong.append(f"`{name}` is missing")
        elif name == "content":
            pictures[name] = values[name]
        else:
            listed = listed_styles(style)
            style = style if listed is None else listed
            pictures |= name_styles([style] if listed is None else listed)
            wrong += _wrong_blend(config, 1 if listed is None else len(listed))
    init = settings.get("init")
    if init is not None and not (isinstance(init, str) and init in INITS):
        pictures["init"] = init
    work = 0.0
    for name, source in pictures.items():
        try:
            shape = _shape(files, source, name.split()[0])
            if name == "content" and config is not None:
                work = work_of(
                    config, result_shape(shape, config.size, tile=config.tile)
                )
        except FORESEEN as error:
            wrong.append(one_line(error))
    output = None
    try:
        output = folder / _output_name(job, values, bits=bits, quality=quality)
        if output.is_dir():
            wrong.append(f"output {output} is a folder")
    except (TypeError, ValueError) as error:
        wrong.append(str(error))
    return Draft(job, pictures, style, settings, config, output, work), wrong


def _wrong_blend(config: TransferConfig | None, num_styles: int) -> list[str]:
    try:
        check_styles(None if config is None else config.style_blend, num_styles)
    except ValueError as error:
        return [str(error)]
    return []


def _settle(settings: dict[str, Any]) -> tuple[TransferConfig | None, list[str]]:
    try:
        return settle_config(**(NOT_SET | settings)), []
    except FORESEEN as error:
        together = one_line(error)
    found: list[str] = []
    basis: dict[str, Any] = {}
    for name in sorted(settings, key=lambda name: name not in _BASIC):
        try:
            settle_config(**(NOT_SET | basis | {name: settings[name]}))
        except FORESEEN as error:
            found.append(one_line(error))
        else:
            if name in _BASIC:
                basis[name] = settings[name]
    return None, found or [together]


def _shape(files: Files, source: PictureSource, name: str) -> tuple[int, int]:
    if name != "init":
        return files.shape(source, name)
    with naming_inits(source):
        return files.shape(source, name)


def _output_name(
    job: Job, values: Mapping[str, Any], *, bits: int, quality: int
) -> Path:
    """Return the name of a job's picture in the folder.

    Raises:
        ValueError: if there can be no such picture in it.
        TypeError: if it is no name.
    """
    given = values.get("output")
    if given is None:
        stems = (_stem(values.get(name), name) for name in ("content", "style"))
        return Path(f"{job.number:03d}_{'_'.join(stems)}.png")
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
