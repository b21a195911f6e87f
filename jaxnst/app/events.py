"""What happens when somebody does something on the page.

Handlers get the values of widgets, ask the session for what is to be done, and return
what the page shows. What takes long is begun by one handler, watched by
`Events._watch`, and shown by `Events._finish`: a page that is opened anew goes on with
what is painted, and a preview carries nothing but itself.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from jaxnst._checks import FORESEEN
from jaxnst.images import check_picture, read_record

from . import views
from .form import SLIDERS, fill_clip, fill_form, read_form, read_values
from .session import Job, Made, Session, Studio, advice_of
from .tasks import (
    AXES,
    PaintedClip,
    compare_pictures,
    explain_picture,
    forecast_clip,
    paint_clip,
    paint_grid,
)


DRAWINGS = {
    "nothing": "Nothing",
    "only": "Paint only where I draw",
    "keep": "Keep the photo where I draw",
    "two": "First painting where I draw, second elsewhere",
    "stronger": "Stronger where I draw",
}
# Opacity of the brush, through which the photo is seen.
INK = 0.7
# Browsers show these; all others are converted when they are given.
_SHOWABLE = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif")
# Longest side of the photo under the brush, in pixels.
_CANVAS = 800
_PLACES = ("photo", "painting")
_SCROLL = """() => document.getElementById("stage").scrollIntoView({
  block: window.innerWidth < 800 ? "start" : "nearest"
})"""
# Buttons that begin what can be stopped; settings that advice may be about.
_BEGIN = ("paint", "paint_grid", "paint_clip")
# {kind of a job: where it is shown}, beside the button that began it; by default above
# all results.
_PLACES_OF = {"report": "report", "comparison": "table", "forecast": "clip_path"}
_ADVICE = ("size", "memory")
_STOPPABLE = ("picture", "grid", "clip")
# What a handler may raise that the user is told.
_TOLD = (*FORESEEN, RuntimeError)

# Where handlers find the session among the values of an event.
_SESSION = "session"
# {widget: value} of an event; {widget: new value or `gr.update`} of an answer.
Data = Mapping[Any, Any]
Answer = dict[Any, Any]


class Events:
    """The handlers of one page.

    Args:
        studio: the studio that paints.
        widgets: the widgets of the page, by their names.
    """

    def __init__(self, studio: Studio, widgets: Mapping[str, Any]):
        self._studio, self._w = studio, widgets

    def connect(self, demo: Any) -> None:
        """Connect widgets with handlers."""
        w = self._w
        form, clip = w["form"], w["clip"]
        token = {w["token"]}
        seen = token | {w["is_begun"]}
        chosen = token | {w["more"], w["aims"], *form.values()}
        given = chosen | {w[place] for place in _PLACES}
        drawn = given | {w["drawing"], w["canvas"], w["elsewhere"]}
        flat = [each for each in w.values() if not isinstance(each, dict)]
        shown = [*flat, *form.values(), *clip.values()]
        # Those who watch take no part in the line, which is the studio's.
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        often = quiet | {"concurrency_limit": None}

        def on(event: Any, fn: Any, inputs: set[Any], *more: Any, **form: Any) -> Any:
            handler = self._handler(fn, *more, kind=form.pop("kind", "plain"))
            return event(handler, inputs, form.pop("to", shown), **(often | form))

        def watch(begun: Any) -> None:
            places = {*_PLACES_OF.values()} & {*w}
            to = [w["stage"], w["tiles"], *(w[name] for name in places)]
            watched = on(begun.then, self._watch, seen, kind="stream", to=to)
            on(watched.then, self._finish, seen, to=flat)

        def begin(event: Any, fn: Any, inputs: set[Any], kind: str = "") -> None:
            watch(on(event, self._begin, inputs, fn, kind, to=flat))

        watch(on(demo.load, self._load, token))
        forecast = [w["forecast"]]
        for place in _PLACES:
            on(w[f"{place}s"].select, self._borrow, token, place, kind="select")
            # Its path alone: jaxnst opens pictures, and says what is wrong with them.
            taken = on(
                w[place].change,
                self._take,
                token | {w[place]},
                place,
                preprocess=False,
            )
            on(taken.then, self._forecast, chosen, kind="stream", to=forecast)
        triggers = [form[name].change for name in ("preset", "size")]
        triggers += [w["aims"].change, w["more"].change]
        triggers += [form[name].blur for name in ("num_steps", "coarse_steps")]
        for trigger in triggers:
            on(
                trigger,
                self._forecast,
                chosen,
                kind="stream",
                to=forecast,
                trigger_mode="multiple",
            )
        form["preset"].change(_aims_at, [form["preset"], w["aims"]], w["aims"], **quiet)
        on(w["as_photo"].click, self._accept, token)
        begin(w["paint"].click, self._paint, drawn)
        for name in _BEGIN:
            if name in w:  # on a phone it is far below
                w[name].click(None, js=_SCROLL, **quiet)
        on(w["stop"].click, self._stop, token, to=[w["stop"]])
        for name in _ADVICE:
            event = w[f"try_{name}"].click
            advised = on(event, self._advise, token, name, to=[form[name]])
            begin(advised.then, self._paint, drawn)
        on(w["strip"].select, self._choose, token, kind="select")
        begin(w["why"].click, self._explain, token, "report")
        pair = token | {w["one"], w["other"]}
        begin(w["compare"].click, self._compare, pair, "comparison")
        for number in (1, 2):
            w[f"axis{number}"].change(
                lambda axis: AXES.get(axis, ""),
                w[f"axis{number}"],
                w[f"values{number}"],
                **quiet,
            )
        axes = {w[f"{x}{i}"] for x in ("axis", "values") for i in (1, 2)}
        begin(w["paint_grid"].click, self._paint_grid, drawn | axes | {w["grid_size"]})
        on(w["tiles"].select, self._choose_tile, token, kind="select")
        if "film" in w:
            own = {w["film"], *clip.values()}
            begin(w["paint_clip"].click, self._paint_clip, drawn | own)
            event = w["forecast_clip"].click
            begin(event, self._forecast_clip, given | own, "forecast")
            on(w["film"].upload, self._take_film, token | {w["film"]}, preprocess=False)

    def _handler(self, fn: Any, *more: Any, kind: str) -> Any:
        """Return a handler as Gradio wants it, which gives `fn` the session.

        Args:
            fn: method of this class.
            more: arguments of `fn` after the values of the widgets.
            kind: "plain"; "stream", if it yields; or "select", if it gets the event.
        """
        token = self._w["token"]

        def call(data: Data, request: Any, *event: Any) -> Any:
            session = self._studio.session(data[token], request.session_hash)
            return fn({**data, _SESSION: session}, *more, *event)

        # Gradio looks at the code for `yield`, and at the annotations for the rest.
        handler: Any
        if kind == "stream":
            handler = lambda data, request: (yield from call(data, request))  # noqa: E731
        elif kind == "select":
            handler = lambda data, request, event: call(data, request, event)  # noqa: E731
            handler.__annotations__["event"] = gr.SelectData
        else:
            handler = lambda data, request: call(data, request)  # noqa: E731
        handler.__annotations__["request"] = gr.Request
        return handler

    # What is shown

    def _load(self, data: Data) -> Answer:
        """Show a session from its beginning, or go on where its page was."""
        w, session = self._w, data[_SESSION]
        answer: Answer = {w["token"]: session.token, **self._strip(session)}
        given = dict(session.given)
        if session.shown is not None:
            answer |= self._settings_of(session, session.shown.path)
            answer |= self._show(session, session.shown) | {w["notice"]: ""}
        session.given |= given  # what was given since then
        for place, (path, _) in session.given.items():
            answer[w[place]] = path
            if place == "photo":
                answer[w["canvas"]] = _canvas(path)
        return answer | (self._busy(session.job) if session.is_busy else {})

    def _begin(
        self, data: Data, begin_fn: Callable[[Data], Answer], kind: str
    ) -> Answer:
        """Begin a job, and show that; or say why not."""
        try:
            answer = begin_fn(data)
        except _TOLD as error:
            # Nothing that was begun before is shown in the place of this.
            return {self._w["is_begun"]: False, self._place(kind): self._alert(error)}
        fresh = {self._w["notice"]: "", self._w["as_photo"]: gr.update(visible=False)}
        fresh[self._w["is_begun"]] = True
        return fresh | self._busy(data[_SESSION].job) | answer

    def _busy(self, job: Job) -> Answer:
        w = self._w
        answer: Answer = {w[x]: gr.update(interactive=False) for x in _BEGIN if x in w}
        answer |= {w[f"try_{name}"]: gr.update(visible=False) for name in _ADVICE}
        answer[w["stop"]] = gr.update(visible=job.kind in _STOPPABLE, interactive=True)
        answer[w["stage"]] = ""
        answer[self._place(job.kind)] = views.stage(job, self._studio.place_of(job))
        if job.kind == "picture":
            answer |= {
                w["tabs"]: gr.update(selected="picture"),
                w["result"]: gr.update(visible=False),
                w["report"]: "",
                w["save_report"]: gr.update(visible=False),
            }
        return answer

    def _place(self, kind: str) -> Any:
        """Return the widget that shows a job of this kind."""
        return self._w[_PLACES_OF.get(kind, "stage")]

    def _watch(self, data: Data) -> Iterator[Answer]:
        """Show a job until it is over."""
        job = data[_SESSION].job
        if job is None or job.is_over or not data[self._w["is_begun"]]:
            yield {self._w["stage"]: gr.skip()}
            return
        stage = self._place(job.kind)
        num_tiles = 0
        for _ in job.watch():
            answer: Answer = {stage: views.stage(job, self._studio.place_of(job))}
            if len(job.tiles) > num_tiles:
                num_tiles = len(job.tiles)
                answer |= self._tiles(job)
            yield answer

    def _finish(self, data: Data) -> Answer:
        """Show what came of a job that is over."""
        w, session = self._w, data[_SESSION]
        job = session.job
        if job is None or not job.is_over or not data[w["is_begun"]]:
            return self._nothing()
        answer: Answer = {w[x]: gr.update(interactive=True) for x in _BEGIN if x in w}
        answer[w["stop"]] = gr.update(visible=False)
        answer[self._place(job.kind)] = views.stage(job)
        for name, value in advice_of(job.error).items():
            text = f"Try size {value}" if name == "size" else f"Try {name} {value}"
            answer[w[f"try_{name}"]] = gr.update(value=text, visible=True)
        if job.value is not None:
            return answer | self._outcome(session, job)
        if session.shown is not None:
            answer |= {w["result"]: gr.update(visible=True)}
        return answer

    def _outcome(self, session: Session, job: Job) -> Answer:
        """Return what came of a job."""
        w, value = self._w, job.value
        if job.kind == "picture":
            return self._show(session, value) | self._strip(session)
        if job.kind == "report":
            file = gr.update(value=str(session.copy(value)), visible=True)
            return {w["report"]: views.report(value), w["save_report"]: file}
        if job.kind == "forecast":
            return {w["clip_path"]: views.forecast_of_clip(value)}
        if job.kind == "comparison":
            pair = [self._made(session, title) for title in value[0]]
            shown = tuple(str(made.after) for made in pair)
            return {
                w["pair"]: gr.update(value=shown, visible=True),
                w["table"]: views.comparison([x.time for x in pair], value[1]),
            }
        if job.kind == "clip":
            assert isinstance(value, PaintedClip)
            return {
                w["painted"]: gr.update(value=str(value.shown), visible=True),
                w["clip_path"]: views.place(value.path),
            }
        text = views.place(value.folder)
        for title, error in value.errors.items():
            text += views.notice(f"{title}: {error}", is_error=True)
        return self._tiles(job) | {w["tiles_path"]: text}

    def _show(self, session: Session, made: Made) -> Answer:
        w = self._w
        session.shown = made
        return {
            w["stage"]: "",
            w["tabs"]: gr.update(selected="picture"),
            w["report"]: "",
            w["save_report"]: gr.update(visible=False),
            w["result"]: gr.update(visible=True),
            w["slider"]: (str(made.before), str(made.after)),
            w["caption"]: views.caption(made),
            # The folder of results is the user's, who may have removed it.
            w["download"]: str(session.copy(made.path)) if made.path.exists() else None,
        }

    def _strip(self, session: Session) -> Answer:
        """Return the results, the newest first."""
        w, results = self._w, session.results[::-1]
        titles = [(made.time, made.title) for made in results]
        many = len(results) > 1
        choices = {
            w[name]: gr.update(choices=titles, value=titles[i][1] if many else None)
            for i, name in enumerate(("one", "other"))
        }
        return {
            w["strip"]: gr.update(
                value=[(str(made.thumb), made.time) for made in results],
                visible=many,
                selected_index=None,
            ),
            w["both"]: gr.update(visible=many),
            **choices,
        }

    def _tiles(self, job: Job) -> Answer:
        value = [(str(path), title) for path, title, _ in job.tiles]
        return {self._w["tiles"]: gr.update(value=value, visible=bool(value))}

    # What is given

    def _take(self, data: Data, place: str) -> Answer:
        """Take a picture; one of jaxnst's fills the form instead."""
        w, session = self._w, data[_SESSION]
        path = (data[w[place]] or {}).get("path")
        fresh: Answer = {w["notice"]: "", w["as_photo"]: gr.update(visible=False)}
        if not session.is_busy:  # what was missing may be there now
            fresh[w["stage"]] = "" if session.shown else views.stage(None)
        if path is None:
            if session.given.pop(place, None) is None:
                return self._nothing()  # the message that refused it stays
            return fresh | ({w["canvas"]: None} if place == "photo" else {})
        before = session.given.get(place, (None, None))
        digest = session.know(path)
        if digest == before[1]:
            return self._nothing()
        try:
            check_picture(path, argument=place, is_named=False)
            record = None if digest in session.accepted else _record_of(path)
            if record is None and (shown := _showable(session, path)) != path:
                path, digest = shown, session.know(shown)
                fresh[w[place]] = path
        except FORESEEN as error:
            return fresh | {w[place]: before[0], w["notice"]: self._alert(error)}
        if record is None:
            session.given[place] = str(session.keep(path)), digest
            if place == "photo":
                fresh[w["canvas"]] = _canvas(path)
            return fresh
        session.offered = path, digest
        fresh |= {w[place]: before[0], w["as_photo"]: gr.update(visible=True)}
        return fresh | self._fill(session, record, Path(path).name)

    def _take_film(self, data: Data) -> Answer:
        """Fill the form with the settings of a film that jaxnst painted."""
        path = ((data[self._w["film"]] or {}).get("path")) or ""
        record = _record_of(path) if path else None
        session = data[_SESSION]
        answer: Answer = {self._w["notice"]: ""}
        if not session.is_busy:  # that it was missing is no longer true
            answer[self._w["clip_path"]] = ""
        if record is None or record.get("kind") != "video":
            return answer
        return answer | self._fill(session, record, Path(path).name)

    def _borrow(self, data: Data, place: str, event: gr.SelectData) -> Answer:
        """Take a picture that comes with jaxnst."""
        return {self._w[place]: self._w["shelf"][place][event.index]}

    def _accept(self, data: Data) -> Answer:
        """Take a painted picture for a photo."""
        w, session = self._w, data[_SESSION]
        if session.offered is None:
            return self._nothing()
        path, digest = session.offered
        session.accepted.add(digest)
        photo = _showable(session, path)
        return {w["photo"]: photo, w["as_photo"]: gr.update(visible=False)}

    def _fill(self, session: Session, record: Mapping[str, Any], name: str) -> Answer:
        """Return the form with the settings in a record, and its pictures."""
        w, is_clip = self._w, record.get("kind") == "video"
        try:
            values, is_strength_on, notes = fill_form(record)
            of_clip = fill_clip(record) if is_clip else {}
        except ValueError as error:
            text = f"{name} was painted by jaxnst, but: {error}"
            return {w["notice"]: views.notice(text, is_error=True)}
        answer: Answer = {w["aims"]: is_strength_on, w["drawing"]: "nothing"}
        for each, widget in w["form"].items():
            answer[widget] = value = values[each]
            if each in SLIDERS:
                least, most = SLIDERS[each]
                answer[widget] = gr.update(
                    value=value, minimum=min(least, value), maximum=max(most, value)
                )
        answer |= {widget: of_clip[x] for x, widget in w["clip"].items() if is_clip}
        inputs = record.get("inputs", {})
        styles = [x for x in inputs if x.partition(" ")[0] == "style"]
        more = []
        for number, key in enumerate(["content", *styles]):
            entry = inputs.get(key, {})
            path = session.find(entry.get("sha256", ""))
            if number == 0 and is_clip:
                name_of_clip = entry.get("name", "of unknown name")
                notes.append(f"to paint its clip again, give that, {name_of_clip}")
            elif path is None:
                what = "photo" if number == 0 else "painting"
                notes.append(f"give its {what}, {entry.get('name', 'of unknown name')}")
            elif number < len(_PLACES):
                place = _PLACES[number]
                session.given[place] = path, entry["sha256"]
                answer[w[place]] = path
                if place == "photo":
                    answer[w["canvas"]] = _canvas(path)
            else:
                more.append(path)
        answer[w["more"]] = more or None
        text = f"The settings of {name} are in the form. "
        text += "".join(f"{note[:1].upper()}{note[1:]}. " for note in notes)
        return answer | {w["notice"]: views.notice(text.strip())}

    def _forecast(self, data: Data) -> Iterator[Answer]:
        """Say what a painting will take, once both pictures are there."""
        where, session = self._w["forecast"], data[_SESSION]
        if session.is_busy:
            yield {where: gr.skip()}
            return
        # The pictures that were taken: in the page there may be one that will not be,
        # which Gradio would open.
        taken = {self._w[place]: path for place, (path, _) in [*session.given.items()]}
        if len(taken) < len(_PLACES):
            yield {where: views.notice(views.NO_FORECAST)}
            return
        try:
            photo, styles = self._pictures({**data, **taken})
            job = session.estimate(photo, styles, self._settings(data))
        except _TOLD as error:
            yield {where: self._alert(error)}
            return
        yield {where: views.notice("Measuring what it will take ...")}
        for _ in job.watch():
            if job.is_stopping:
                text = "Not measured, as something else began first."
                yield {where: views.notice(text) if session.is_busy else gr.skip()}
                return
        text = views.forecast(job.value) if job.value else views.error_text(job.error)
        yield {where: views.notice(text, is_error=job.value is None)}

    # What is asked for

    def _paint(self, data: Data) -> Answer:
        session = data[_SESSION]
        photo, styles = self._pictures(data)
        settings = self._settings(data) | self._drawn(session, data, len(styles))
        session.paint(photo, styles, settings)
        return {}

    def _paint_grid(self, data: Data) -> Answer:
        w, session = self._w, data[_SESSION]
        photo, styles = self._pictures(data)
        settings = self._settings(data) | self._drawn(session, data, len(styles))
        settings |= read_form({"size": data[w["grid_size"]]}, is_strength_on=True)
        axes = {
            data[w[f"axis{i}"]]: data[w[f"values{i}"]]
            for i in (1, 2)
            if data[w[f"axis{i}"]]
        }
        values = {name: read_values(text, name) for name, text in axes.items()}
        paint_grid(session, photo, styles, settings, values)
        return {w["tiles"]: gr.update(value=[]), w["tiles_path"]: ""}

    def _paint_clip(self, data: Data) -> Answer:
        paint_clip(data[_SESSION], *self._clip(data))
        w = self._w
        return {w["painted"]: gr.update(visible=False), w["clip_path"]: ""}

    def _forecast_clip(self, data: Data) -> Answer:
        forecast_clip(data[_SESSION], *self._clip(data))
        return {}

    def _clip(self, data: Data) -> tuple[Any, ...]:
        """Return clip, paintings, their settings, and those of the clip."""
        w = self._w
        if data[w["film"]] is None:
            raise ValueError("Give a clip.")
        values = {name: data[widget] for name, widget in w["clip"].items()}
        own = read_form(values, is_strength_on=False)
        return data[w["film"]], self._styles(data), self._settings(data), own

    def _stop(self, data: Data) -> Answer:
        session = data[_SESSION]
        if session.job is not None:
            session.job.stop()
        return {self._w["stop"]: gr.update(interactive=False)}

    def _advise(self, data: Data, name: str) -> Answer:
        """Set what would fit into memory."""
        session = data[_SESSION]
        error = None if session.job is None else session.job.error
        value = advice_of(error).get(name)
        return {self._w["form"][name]: gr.skip() if value is None else str(value)}

    def _choose(self, data: Data, event: gr.SelectData) -> Answer:
        """Bring back a result and its settings."""
        session = data[_SESSION]
        if event.index >= len(session.results):  # of a server that is gone
            return self._nothing()
        made = session.results[::-1][event.index]
        return self._show(session, made) | self._settings_of(session, made.path)

    def _choose_tile(self, data: Data, event: gr.SelectData) -> Answer:
        """Take the settings of a picture of a grid, but its size."""
        session = data[_SESSION]
        if session.grid is None or event.index >= len(session.grid.tiles):
            return self._nothing()
        _, _, path = session.grid.tiles[event.index]
        answer = self._settings_of(session, path)
        answer.pop(self._w["form"]["size"], None)
        return answer

    def _settings_of(self, session: Session, path: Path) -> Answer:
        record = _record_of(path)
        if record is None:
            text = f"{path} is no longer there, or was changed."
            return {self._w["notice"]: views.notice(text, is_error=True)}
        return self._fill(session, record, path.name)

    def _explain(self, data: Data) -> Answer:
        session = data[_SESSION]
        if session.shown is None:
            raise ValueError("Paint a picture first.")
        explain_picture(session, session.shown)
        return {}

    def _compare(self, data: Data) -> Answer:
        titles = [data[self._w[name]] for name in ("one", "other")]
        pair = [self._made(data[_SESSION], title) for title in titles]
        compare_pictures(data[_SESSION], pair)
        return {}

    # What handlers share

    def _made(self, session: Session, title: str | None) -> Made:
        found = [made for made in session.results if made.title == title]
        if not found:
            raise ValueError("choose two results.")
        return found[0]

    def _pictures(self, data: Data) -> tuple[str, list[str]]:
        photo = data[self._w["photo"]]
        if photo is None:
            raise ValueError("Give a photo.")
        return photo, self._styles(data)

    def _styles(self, data: Data) -> list[str]:
        painting = data[self._w["painting"]]
        if painting is None:
            raise ValueError("Give a painting.")
        return [painting, *(path for path, _ in data[self._w["more"]] or ())]

    def _settings(self, data: Data) -> dict[str, Any]:
        values = {name: data[widget] for name, widget in self._w["form"].items()}
        return read_form(values, is_strength_on=data[self._w["aims"]])

    def _drawn(self, session: Session, data: Data, num_styles: int) -> dict[str, Any]:
        """Return the settings that the drawing stands for.

        Raises:
            ValueError: if it does not go with the number of paintings, or with the
                other settings; or if nothing is drawn.
        """
        w, kind = self._w, data[self._w["drawing"]]
        if kind == "nothing":
            return {}
        canvas = data[w["canvas"]] or {}
        layers = [layer[..., 3] for layer in canvas.get("layers", ())]
        if not layers or not np.any(layers):
            raise ValueError(
                "Nothing is drawn; draw over the photo, or choose Nothing."
            )
        mask = np.minimum(np.max(layers, axis=0) / (255 * INK), 1)
        if kind == "stronger":
            if not data[w["aims"]]:
                raise ValueError("A drawn strength needs “Aim for the strength above”.")
            most, least = data[w["form"]["strength"]], data[w["elsewhere"]]
            levels = least + (most - least) * mask
            return {"strength": session.save_gray(levels, "strength")}
        wanted = 2 if kind == "two" else 1
        if num_styles != wanted:
            raise ValueError(
                f"“{DRAWINGS[kind]}” is for {wanted} painting{'s' * (wanted > 1)}, and "
                f"there {'is 1' if num_styles == 1 else f'are {num_styles}'}."
            )
        drawn = session.save_gray(1 - mask if kind == "keep" else mask, "mask")
        return {"masks": [drawn, "rest"] if kind == "two" else [drawn]}

    def _nothing(self) -> Answer:
        """Return an answer that changes nothing; Gradio takes none without a widget."""
        return {self._w["notice"]: gr.skip()}

    def _alert(self, error: Exception) -> str:
        return views.notice(views.error_text(error), is_error=True)


def _aims_at(preset: str, is_aiming: bool) -> bool:
    """The paper's loss knows no strength."""
    return is_aiming and preset != "gatys2016"


def _record_of(path: str | Path) -> dict[str, Any] | None:
    """Return the record in a picture; None if it has none that can be read."""
    try:
        return read_record(path)
    except (ValueError, OSError):
        return None


def _showable(session: Session, path: str) -> str:
    """Return a picture that browsers show."""
    if Path(path).suffix.lower() in _SHOWABLE:
        return path
    return str(session.as_png(path))


def _canvas(path: str) -> dict[str, Any] | None:
    """Return a photo to draw on; None if it cannot be shown."""
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * _CANVAS, 2 * _CANVAS))
            image = ImageOps.exif_transpose(picture).convert("RGB")
    except Exception:  # a damaged picture is refused when it is painted
        return None
    image.thumbnail((_CANVAS, _CANVAS))
    return {"background": image, "layers": [], "composite": image}
