"""What the page says of a job and of a result, in HTML and in words."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from jaxnst._checks import one_line, plain
from jaxnst.metrics import Metrics
from jaxnst.transfer.memory import Estimate, as_text

from .session import TEMPORARY, Frame, Job, Made


NO_FORECAST = "Once both pictures are there, this says what painting will take."
_WELCOME = "Drop a photo and a painting, then press Paint."
# Where a given file lies on this machine says nothing; its name does.
_OWN_FOLDERS = re.compile(rf"[^\s(]*[\\/]{TEMPORARY}\S*[\\/]")
# {kind of a job: what it is at}.
_WAITING = {
    "report": "Finding out why it looks so; this takes minutes, as small pictures are "
    "painted with and without each layer",
    "comparison": "Measuring both pictures",
    "forecast": "Looking through the clip",
}
# {field of `Metrics`: what it tells}.
_MEANINGS = {
    "lpips": "content lost: 0 nothing, 0.7 nothing to be recognized",
    "gram_gap": "style left: 0 reached, 1 as far as the photo",
    "palette_gap": "colors left: 0 reached, 1 as far as the photo",
    "style_detail": "fine detail, over that of the painting",
    "content_detail": "fine detail, over that of the photo",
}


def stage(job: Job | None, place: int = 0) -> str:
    """Return what is shown of a job while it is in line or at work, or has failed."""
    if job is None:
        return f'<div class="jx-stage"><div class="jx-box">{_WELCOME}</div></div>'
    if job.state == "failed":
        return _alert(error_text(job.error))
    if job.state == "done":
        if job.value is None:
            return notice("Stopped before the first step; nothing was painted.")
        return ""
    aspect = ""
    if job.shape is not None:
        aspect = f' style="aspect-ratio: {job.shape[1]} / {job.shape[0]}"'
    preview = job.preview()
    inside = '<span class="jx-wait" aria-hidden="true"></span>'
    if preview:
        inside = f'<img alt="the picture so far" src="{preview}">'
    small = " jx-small" if job.kind == "grid" else ""
    box = f'<div class="jx-box{small}"{aspect}>{inside}</div>'
    if job.kind in ("report", "comparison", "forecast"):
        box = ""
    said = escape(words(job, place))
    return (
        f'<div class="jx-stage">{box}{_bar(job)}'
        f'<p class="jx-said" data-state="{job.state}">{said}</p></div>'
    )


def _bar(job: Job) -> str:
    done = None if job.reached is None else job.reached.done
    if job.kind == "grid" and job.num_tiles:
        done = (len(job.tiles) + (done or 0)) / job.num_tiles
    elif job.frame is not None:
        done = job.frame.done / job.frame.total
    value = "" if done is None else f' value="{done:.3f}"'
    return f'<progress aria-label="progress" max="1"{value}></progress>'


def _alert(text: str) -> str:
    return f'<div class="jx-alert" role="alert">{escape(plain(text))}</div>'


def words(job: Job, place: int = 0) -> str:
    """Return in words what a job is at."""
    if job.state == "waiting":
        return f"In line: {place} before this one." if place else "Beginning ..."
    if job.is_stopping:
        if job.kind == "picture":
            return "Stopping after this step ..."
        return "Stopping; what is finished is kept ..."
    reached, parts = job.reached, []
    if job.kind == "grid" and job.num_tiles:
        number = min(len(job.tiles) + 1, job.num_tiles)
        parts.append(f"Picture {number} of {job.num_tiles}")
    elif job.kind == "clip" and job.frame is not None:
        return _words_of_clip(job.frame, job.seconds)
    elif job.kind == "clip":
        parts.append("Looking for cuts" if reached is None else "First frame")
    elif job.kind in _WAITING:
        return f"{_WAITING[job.kind]} ... {_time(job.seconds)}"
    if job.phase == "finishing":
        return "Finishing ..."
    if reached is None:
        parts.append(f"getting ready ... {_time(job.seconds)}")
        text = " · ".join(parts)
        text = text[:1].upper() + text[1:]
        return f"{text}. The first picture of a size takes up to a minute longer."
    parts += [
        f"{'S' if not parts else 's'}tep {reached.step} of {reached.num_steps}",
        f"{reached.size[1]} x {reached.size[0]} px",
    ]
    if reached.left is not None and job.kind == "picture":
        parts.append(f"{_time(reached.left)} left")
    if reached.strength is not None:
        parts.append(f"strength {reached.strength:.2f} so far")
    return " · ".join(parts)


def _words_of_clip(frame: Frame, seconds: float) -> str:
    if frame.done == frame.total:
        return "All frames are painted; putting the film together ..."
    parts = [f"{frame.done} of {frame.total} frames painted", _time(seconds)]
    if frame.left is not None:
        parts.append(f"about {_time(frame.left)} left")
    return " · ".join(parts)


def caption(made: Made) -> str:
    """Return what is known of a result, and where it is, in HTML."""
    result = made.record["result"]
    parts = [
        f"{result['width']} x {result['height']} px",
        f"{result['steps']} steps",
    ]
    if seconds := made.record.get("seconds", {}).get("total"):
        parts.append(_time(seconds))
    reached = result.get("strength", {}).get("reached")
    if isinstance(reached, float):
        parts.append(f"strength {reached:.2f}")
    if result["stopped"] == "callback":
        parts.append("stopped by you")
    elif result["stopped"]:
        parts.append(f"ended early: {result['stopped']}")
    text = f'<p class="jx-said">{escape(" · ".join(parts))}</p>'
    text += f'<p class="jx-path">{escape(plain(str(made.path)))}</p>'
    return text + (_alert(made.note) if made.note else "")


def forecast_of_clip(estimate: Any) -> str:
    """Return the estimate of a clip in HTML."""
    first, each, whole = str(estimate).split("\n")
    text = f"{whole[:1].upper()}{whole[1:]}: {first}; {each}."
    return notice(text)


def forecast(estimate: Estimate) -> str:
    """Return an estimate in words."""
    memory = as_text(estimate.memory)
    if estimate.available is not None:
        memory += f" of {as_text(estimate.available)} free"
    text = f"About {_time(estimate.seconds)}, {memory}, on {estimate.device}."
    if estimate.available is not None and estimate.memory > estimate.available:
        text += " That does not fit; take a smaller size."
    return text


def notice(text: str, *, is_error: bool = False) -> str:
    """Return a message to the user; nothing if it is empty."""
    if not text:
        return ""
    if is_error:
        return _alert(text)
    return f'<p class="jx-notice" role="status">{escape(plain(text))}</p>'


def place(path: Path | None) -> str:
    """Return where something was written, in HTML."""
    text = "" if path is None else escape(plain(str(path)))
    return f'<p class="jx-path">{text}</p>'


def report(path: Path) -> str:
    """Return the report of a file, in a frame that may ask for nothing."""
    text = escape(path.read_text(encoding="utf-8"), quote=True)
    return (
        f'<p class="jx-path">{escape(plain(str(path)))}</p>'
        '<iframe class="jx-report" title="Why it looks so" sandbox="allow-scripts" '
        f'srcdoc="{text}"></iframe>'
    )


def comparison(titles: Sequence[str], found: Sequence[Metrics]) -> str:
    """Return a table of the metrics of two results."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    rows = "".join(
        f'<tr><th scope="row">{name.replace("_", " ")}<small>{meaning}</small></th>'
        + "".join(f"<td>{getattr(each, name):.3f}</td>" for each in found)
        + "</tr>"
        for name, meaning in _MEANINGS.items()
    )
    return (
        f'<table class="jx-table"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def error_text(error: BaseException | None) -> str:
    """Return an error as a sentence."""
    text = "something went wrong" if error is None else one_line(error)
    text = _OWN_FOLDERS.sub("", text)
    return text if text.startswith("`") else text[:1].upper() + text[1:]


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, seconds):.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
