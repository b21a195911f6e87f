"""The layout of the page: its widgets, and which event asks for what."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Default

from jaxnst.config import CLIP_SETTINGS

from .events import DRAWINGS, INK, Events
from .form import FIRST, LOOK, MIX, SLIDERS, USUAL_STRENGTH, Field, field, other_fields
from .session import Studio
from .tasks import AXES, has_clips
from .views import NO_FORECAST, notice, stage


_ROOT = Path(__file__).parent.parent
# In an installed wheel the pictures lie inside the package, in a checkout beside it.
EXAMPLES = (_ROOT / "_examples", _ROOT.parent / "examples/images")
# {name of the file: what it is}.
_PHOTOS = {
    "summer_palace": "Palace",
    "astronaut": "Astronaut",
    "chelsea_cat": "Cat",
    "coffee": "Coffee",
}
_PAINTINGS = {
    "hokusai_great_wave": "Hokusai",
    "kandinsky_composition_viii": "Kandinsky",
    "van_gogh_auvers": "Van Gogh",
}
_SIZES = ("256", "384", "512", "768", "1024", "1536")
_GRID_SIZES = ("128", "192", "256", "384", "512")

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def make_theme() -> Any:
    """Return the look of the page; its fonts are the system's."""
    theme = Default(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    # The theme's own grays and buttons are too light to be read by everybody.
    names = ("body_text_color_subdued", "block_info_text_color")
    grays = dict.fromkeys(names, "*neutral_600")
    grays |= {f"{name}_dark": "*neutral_300" for name in names}
    return theme.set(
        **grays,
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
    )


def build_page(studio: Studio) -> Any:
    """Return the page, as Gradio's `Blocks`."""
    for stem in (*_PHOTOS, *_PAINTINGS):
        if path := _example(stem):
            studio.know(path)
    # Gradio's own copies of files go after a week, as a page that was left open names
    # them; it looks every hour. The end of jaxnst removes them all.
    with gr.Blocks(title="jaxnst", delete_cache=(3600, 7 * 24 * 3600)) as demo:
        Events(studio, _lay_out()).connect(demo)
        demo.load(None, js=_SCRIPT, api_visibility="private")
    return demo


def _lay_out() -> dict[str, Any]:
    """Make all widgets, and return them by their names."""
    w: dict[str, Any] = {"form": {}, "clip": {}, "shelf": {}}
    w["token"] = gr.BrowserState(None, storage_key="jaxnst", secret="jaxnst")
    # Whether what was asked for last was begun, and not refused.
    w["is_begun"] = gr.State(True)
    gr.HTML(
        '<div class="jx-head"><h1>jaxnst</h1>'
        "<p>A photo, painted like a painting.</p></div>"
        '<p id="gone" class="jx-alert" role="alert" hidden>jaxnst has ended, or cannot '
        "be reached. Start it again, and this page comes back.</p>"
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            _lay_out_inputs(w)
        with gr.Column(scale=6, min_width=320):
            _lay_out_results(w)
    return w


def _lay_out_inputs(w: dict[str, Any]) -> None:
    sources: Any = ["upload", "clipboard", "webcam"]
    with gr.Row():
        for name, label in (("photo", "Photo"), ("painting", "Painting")):
            w[name] = gr.Image(
                label=label,
                type="filepath",
                image_mode=None,
                sources=sources if name == "photo" else sources[:2],
                height=220,
                min_width=150,
                buttons=["fullscreen"],
                elem_id=name,
            )
    w["notice"] = gr.HTML(elem_id="notice", elem_classes="jx-slot")
    w["as_photo"] = gr.Button("Use it as the photo", size="sm", visible=False)
    for name, stems in (("photo", _PHOTOS), ("painting", _PAINTINGS)):
        found = [(_example(stem), title) for stem, title in stems.items()]
        shelf = [(str(path), title) for path, title in found if path]
        w["shelf"][name] = [path for path, _ in shelf]
        w[f"{name}s"] = _gallery(
            f"Or one of these {name}s",
            f"{name}s",
            shelf,
            visible=bool(shelf),
            elem_classes="jx-shelf",
            object_fit="cover",
        )
    form = w["form"]
    form["strength"] = _slider("strength", USUAL_STRENGTH, step=0.05)
    with gr.Row():
        form["preset"] = _choice("preset", "default")
        form["size"] = gr.Dropdown(
            list(_SIZES), value="512", allow_custom_value=True, **_about(field("size"))
        )
    w["forecast"] = gr.HTML(
        notice(NO_FORECAST), elem_id="forecast", elem_classes="jx-slot"
    )
    w["paint"] = gr.Button("Paint", variant="primary", elem_id="paint")
    with gr.Accordion("Color and strokes", open=False):
        form["color"] = _choice("color", "style")
        form["detail"] = _slider("detail", 0.0, step=0.1)
        form["style_scale"] = _slider("style_scale", 1.0, step=0.05)
        for name in LOOK[3:]:
            form[name] = _any(name)
    with gr.Accordion("More paintings", open=False):
        w["more"] = gr.Gallery(
            label="Further paintings",
            type="filepath",
            file_types=["image"],
            interactive=True,
            columns=3,
            height=200,
            buttons=[],
            sources=["upload"],
        )
        for name in MIX:
            form[name] = _any(name)
    with gr.Accordion("Draw", open=False):
        w["drawing"] = gr.Radio(
            [(text, name) for name, text in DRAWINGS.items()],
            value="nothing",
            label="What the drawing does",
        )
        w["canvas"] = gr.ImageEditor(
            label="Draw over the photo",
            type="numpy",
            sources=(),
            transforms=(),
            layers=False,
            brush=gr.Brush(
                default_size=60, colors=[("#ffffff", INK)], color_mode="fixed"
            ),
            eraser=gr.Eraser(default_size=60),
            buttons=[],
            height=400,
            elem_id="canvas",
        )
        w["elsewhere"] = gr.Slider(
            0,
            1,
            value=0.2,
            step=0.05,
            label="Strength elsewhere",
            info="Where nothing is drawn; for \u201cStronger where I draw\u201d",
        )
    with gr.Accordion("All settings", open=False):
        w["aims"] = gr.Checkbox(
            True,
            label="Aim for the strength above",
            info="Without it the weights of content and style decide",
        )
        for title, names in other_fields():
            with gr.Accordion(title[:1].upper() + title[1:], open=False):
                for name in names:
                    form[name] = _any(name)
    assert {*FIRST, *LOOK, *MIX} <= {*form}


def _lay_out_results(w: dict[str, Any]) -> None:
    w["stage"] = gr.HTML(stage(None), elem_id="stage", elem_classes="jx-slot")
    w["stop"] = gr.Button(
        "Stop and keep", variant="stop", visible=False, elem_id="stop"
    )
    with gr.Row():
        for name in ("try_size", "try_memory"):
            w[name] = gr.Button("", visible=False, size="sm", elem_id=name)
    with gr.Tabs() as w["tabs"]:
        with gr.Tab("Picture", id="picture"):
            with gr.Column(visible=False) as w["result"]:
                w["slider"] = gr.ImageSlider(
                    label="Before and after",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=700,
                    elem_id="slider",
                )
                w["caption"] = gr.HTML(elem_classes="jx-slot")
                with gr.Row():
                    w["download"] = gr.DownloadButton("Download", elem_id="download")
                    w["why"] = gr.Button("Why?", elem_id="why")
            w["strip"] = _gallery("Results", "strip", visible=False)
            w["report"] = gr.HTML(elem_id="report", elem_classes="jx-slot")
            w["save_report"] = gr.DownloadButton(
                "Save the report, to open it on its own",
                visible=False,
                size="sm",
                elem_id="save_report",
            )
            with gr.Accordion("Compare two", open=False, visible=False) as w["both"]:
                with gr.Row():
                    w["one"] = gr.Dropdown([], label="One", min_width=140)
                    w["other"] = gr.Dropdown([], label="Other", min_width=140)
                w["compare"] = gr.Button("Compare", elem_id="compare")
                w["pair"] = gr.ImageSlider(
                    label="One and the other",
                    type="filepath",
                    interactive=False,
                    visible=False,
                    buttons=["fullscreen"],
                )
                w["table"] = gr.HTML(elem_classes="jx-slot")
        with gr.Tab("Grid"):
            _lay_out_grid(w)
        if has_clips():
            with gr.Tab("Clip"):
                _lay_out_clip(w)


def _lay_out_grid(w: dict[str, Any]) -> None:
    gr.HTML(
        '<p class="jx-said">Several values of a setting, side by side and small; a '
        "click on a picture takes its settings.</p>"
    )
    for number, default in ((1, "strength"), (2, None)):
        with gr.Row():
            w[f"axis{number}"] = gr.Dropdown(
                list(AXES)
                if number == 1
                else [("nothing", ""), *((x, x) for x in AXES)],
                value=default or "",
                label="Vary" if number == 1 else "and",
                min_width=140,
            )
            w[f"values{number}"] = gr.Textbox(
                AXES.get(default or "", ""), label="Values", min_width=140
            )
    w["grid_size"] = gr.Dropdown(
        list(_GRID_SIZES),
        value="256",
        label="Size",
        allow_custom_value=True,
        info="Longest side of each picture",
    )
    w["paint_grid"] = gr.Button(
        "Paint the grid", variant="primary", elem_id="paint_grid"
    )
    w["tiles"] = _gallery("Grid", "tiles", visible=False)
    w["tiles_path"] = gr.HTML(elem_id="tiles_path", elem_classes="jx-slot")


def _lay_out_clip(w: dict[str, Any]) -> None:
    w["film"] = gr.Video(
        label="Clip",
        sources=["upload"],
        include_audio=True,
        height=240,
        buttons=[],
        elem_id="film",
    )
    w["clip"]["steadiness"] = gr.Slider(
        0, 1, value=0.5, step=0.05, **_about(field("steadiness"))
    )
    with gr.Accordion("All settings of clips", open=False):
        for name in CLIP_SETTINGS:
            if name not in ("steadiness", "rate"):  # the rate is for pictures
                w["clip"][name] = _any(name)
    with gr.Row():
        w["forecast_clip"] = gr.Button("What will it take?", elem_id="forecast_clip")
        w["paint_clip"] = gr.Button(
            "Paint the clip", variant="primary", elem_id="paint_clip"
        )
    w["painted"] = gr.Video(
        label="Painted clip", visible=False, interactive=False, elem_id="painted"
    )
    w["clip_path"] = gr.HTML(elem_id="clip_path", elem_classes="jx-slot")


def _gallery(label: str, name: str, value: Any = None, **look: Any) -> Any:
    look = {"elem_classes": "jx-gallery", "object_fit": "contain"} | look
    return gr.Gallery(
        value,
        label=label,
        elem_id=name,
        interactive=False,
        allow_preview=False,
        columns=4,
        fit_columns=False,
        height="auto",
        buttons=[],
        **look,
    )


def _about(shown: Field) -> dict[str, Any]:
    return {"label": shown.label, "info": shown.help, "min_width": 140}


def _slider(name: str, value: float, *, step: float) -> Any:
    least, most = SLIDERS[name]
    return gr.Slider(least, most, value=value, step=step, **_about(field(name)))


def _choice(name: str, value: str) -> Any:
    shown = field(name)
    return gr.Dropdown(list(shown.choices), value=value, **_about(shown))


def _any(name: str) -> Any:
    """Return a widget of a setting that is left to the preset where it is empty."""
    shown = field(name)
    if shown.choices:
        left = (f"as usual: {shown.placeholder}", "")
        choices = [left, *((each, each) for each in shown.choices)]
        return gr.Dropdown(choices, value="", **_about(shown))
    return gr.Textbox("", placeholder=shown.placeholder, **_about(shown))


def _example(stem: str) -> Path | None:
    places = [folder / f"{stem}.jpg" for folder in EXAMPLES]
    return next((path for path in places if path.is_file()), None)
