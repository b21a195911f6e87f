"""The sections of the report that have figures."""

import base64
import json
from typing import TYPE_CHECKING

import numpy as np

from .chart import draw_traces
from .correspondence import Origins, pick_links, position_colors, position_map, rebuild
from .elements import LARGE, SMALL, bar, escape, figure, img, pins
from .pictures import enlarged, heat, pair, relative_pull
from .words import CHANGE_TITLES, convergence_words, short_name


if TYPE_CHECKING:
    from .explanation import Explanation

# Side of a patch in a pair.
PATCH = 120


def show_origins(explanation: "Explanation") -> list[str]:
    """Return where strokes come from."""
    scales = explanation.origins
    links = pick_links(scales[0], explanation.image.mean(-1))
    start = links[0].center if links else tuple(n / 2 for n in explanation.image.shape)
    data = {
        "shape": explanation.image.shape[:2],
        "styles": [style.shape[:2] for style in explanation.styles],
        "start": start[:2],
        "scales": [_encoded(each) for each in scales],
    }
    names = ["a stroke", "some strokes"]
    buttons = "".join(
        f'<button type="button" aria-pressed="{"true" if i == 0 else "false"}">'
        f"{name} ({each.patch} px)</button>"
        for i, (name, each) in enumerate(zip(names, scales, strict=False))
    )
    marks = pins(
        [(link.center, n) for n, link in enumerate(links, 1)], explanation.image
    )
    sources = []
    for number, style in enumerate(explanation.styles):
        own = [
            (each.source, n) for n, each in enumerate(links, 1) if each.style == number
        ]
        sources.append(
            f'<figure><div class="stage source">{img(style, "the painting", LARGE)}'
            f"{pins(own, style)}</div><figcaption>the painting"
            f"{f' {number + 1}' if len(explanation.styles) > 1 else ''}</figcaption>"
            "</figure>"
        )
    pairs = []
    for number, link in enumerate(links, 1):
        here, there = pair(
            link, explanation.image, explanation.styles, scales[0].patch, PATCH
        )
        pairs.append(
            f'<figure><div class="pair">{img(here, f"patch {number}", PATCH)}'
            f"{img(there, f'origin of patch {number}', PATCH)}</div>"
            f"<figcaption>{number}: {link.similarity:.0%} alike</figcaption></figure>"
        )
    shapes = [style.shape[:2] for style in explanation.styles]
    maps = []
    for name, each in zip(names, scales, strict=False):
        rebuilt = rebuild(each, explanation.image.shape[:2], explanation.styles)
        places = enlarged(position_map(each, shapes), SMALL)
        maps.append(
            figure(
                rebuilt,
                f"by {name}: the picture put together of the painting's own pixels",
                LARGE,
            )
        )
        maps.append(figure(places, f"by {name}: where in the painting each comes from"))
    down, across = np.meshgrid(
        np.linspace(0, 1, 64), np.linspace(0, 1, 64), indexing="ij"
    )
    key = figure(position_colors(down, across), "the colors of places in the painting")
    return [
        "<h2>Where did this stroke come from?</h2>",
        "<p>Point at the picture, or touch it: the frame in the painting is the patch "
        "that it resembles most, by the features that painted it.</p>",
        f'<div class="switch" role="group" aria-label="scale">{buttons}</div>',
        '<div class="bench"><canvas id="here" width="240" height="240"></canvas>'
        '<canvas id="there" width="240" height="240"></canvas>'
        '<output id="said"></output></div>',
        '<div class="row"><figure><div class="stage" id="stage" tabindex="0" '
        f'aria-label="the picture; arrow keys move the frame">'
        f"{img(explanation.image, 'the picture', LARGE)}{marks}</div>"
        "<figcaption>the picture</figcaption></figure>",
        *sources,
        "</div>",
        "<h3>Those that are most alike</h3>",
        '<p class="quiet">Left in the picture, right in the painting.</p>',
        f'<div class="small">{"".join(pairs)}</div>' if pairs else "",
        "<h3>All of it</h3>",
        f'<div class="two">{"".join(maps)}</div><div class="key">{key}</div>',
        f'<script type="application/json" id="origins">{json.dumps(data)}</script>',
    ]


def _encoded(origins: Origins) -> dict[str, object]:
    """Return origins as the page's script reads them: whole pixels, in base64."""

    def text(values: np.ndarray, dtype: str) -> str:
        return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()

    similar = np.round(np.clip(origins.similarity, 0, 1) * 255)
    rows, columns = origins.styles.shape
    return {
        "layer": origins.layer,
        "stride": origins.stride,
        "patch": origins.patch,
        "rows": rows,
        "columns": columns,
        "first": origins.centers[0, 0].tolist(),
        "places": text(np.clip(np.round(origins.sources), 0, 65535), "<u2"),
        "styles": text(origins.styles, "u1"),
        "similar": text(similar, "u1"),
    }


def show_layers(explanation: "Explanation") -> list[str]:
    """Return which layer did what."""
    pull, first = explanation.pull, explanation.first_pull
    ablations = explanation.ablations
    rows, figures = [], []
    for layer, gap in explanation.gaps.items():
        term = f"style/{layer}"
        effect = None if ablations is None else ablations.effect.get(layer)
        cells = [
            bar(gap, 1.0),
            bar(first.overall.get(term, 0.0), 1.0),
            bar(pull.overall.get(term, 0.0), 1.0),
            "<td></td>" if effect is None else bar(effect, 0.5),
        ]
        rows.append(f'<tr><th scope="row">{escape(layer)}</th>{"".join(cells)}</tr>')
    for layer, loss in explanation.losses.items():
        term = f"content/{layer}"
        rows.append(
            f'<tr><th scope="row">{escape(layer)} (content)</th>'
            f"<td>{loss:.2f} lost</td><td></td>"
            f"{bar(pull.overall.get(term, 0.0), 1.0)}<td></td></tr>"
        )
    for term, shares in pull.shares.items():
        figures.append(
            figure(
                relative_pull(shares, explanation.image),
                f"{short_name(term)}: {pull.overall[term]:.0%}",
            )
        )
    parts = [
        "<h2>Which layer did what?</h2>",
        "<p>Shallow layers (relu1) see colors and fine texture, deep ones (relu5) "
        "large shapes. <i>Style left</i> is what is left of the way to the painting's "
        "style; <i>pull</i> is each layer's share of all forces on the pixels, on the "
        "content picture and at the end; <i>effect</i> is how different the picture "
        "is without it (LPIPS).</p>",
        '<div class="scroll"><table><thead><tr><th></th><th>style left</th>'
        "<th>pull at first</th><th>pull at the end</th><th>effect</th></tr></thead>"
        "<tbody>",
        *rows,
        "</tbody></table></div>",
        "<h3>Who pulls where, at the end</h3>",
        '<p class="quiet">Each term\'s share of the pulls on a pixel, over its mean: '
        '<span class="ramp"></span> 0 to 2. The number is its share of all pulls.</p>',
        f'<div class="small">{"".join(figures)}</div>',
    ]
    if ablations is None:
        return parts
    return [
        *parts,
        "<h3>What each layer alone would want</h3>",
        f'<p class="quiet">The pair painted small ({ablations.size} px, '
        f"{ablations.num_steps} steps), as one sweep.</p>",
        '<div class="small">',
        figure(ablations.whole, "all layers"),
        *(figure(each, f"{name} alone") for name, each in ablations.alone.items()),
        "</div>",
        "<h3>What is missing without it</h3>",
        '<div class="small">',
        figure(ablations.whole, "all layers"),
        *(figure(each, f"without {name}") for name, each in ablations.without.items()),
        "</div>",
    ]


def show_changes(explanation: "Explanation") -> list[str]:
    """Return where the picture changed."""
    changes, image = explanation.changes, explanation.image
    figures = [
        figure(
            heat(error, image, high=2.0),
            f"content at {layer}: {float(error.mean()):.2f} lost",
        )
        for layer, error in changes.content.items()
    ]
    color, structure = CHANGE_TITLES
    mean = float(changes.color.mean())
    figures.append(figure(heat(changes.color, image, high=0.2), f"{color}: {mean:.3f}"))
    mean = float(changes.structure.mean())
    figures.append(
        figure(heat(changes.structure, image, high=0.7), f"{structure}: {mean:.2f}")
    )
    return [
        "<h2>Where did it change?</h2>",
        '<p class="quiet">From the content picture; <span class="ramp"></span> little '
        "to much. Content: squared error of a layer's features over their mean square, "
        "light from 2. Colors: distance in OKLab without lightness, light from 0.2. "
        "Structure: half of 1 less the similarity of SSIM, light from 0.7.</p>",
        f'<div class="small">{"".join(figures)}</div>',
    ]


def show_traces(explanation: "Explanation") -> list[str]:
    """Return how the losses fell."""
    history = explanation.history
    words = convergence_words(explanation.convergence)
    parts = [
        "<h2>Was it still moving?</h2>",
        *(f"<p>{escape(each)}</p>" for each in words),
    ]
    if history is None:
        return parts
    steps, sizes = history["step"], history["size"]
    sums = {name: np.asarray(history[name]) for name in ("total", "content", "style")}
    parts.append(draw_traces(steps, sizes, sums, title="losses over the steps"))
    for kind, title in (
        ("style", "Style left, by layer"),
        ("content", "Content lost, by layer"),
    ):
        layers = {
            name.partition("/")[2]: np.asarray(values)
            for name, values in history.items()
            if name.startswith(f"{kind}/")
        }
        parts += [
            f"<h3>{title}</h3>",
            draw_traces(steps, sizes, layers, title=title),
        ]
    return parts
