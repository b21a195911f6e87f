"""The page of a sweep: all pictures with their losses, in one file for any browser.

It asks for nothing but the pictures beside it, runs no scripts, and says so to the
browser (its content security policy).
"""

import html
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from .arranging import Block, arrange, heading, in_common
from .axes import Axis, Row
from .frontier import draw_frontier
from .manifest import status_of


# No browser but one shows TIFF.
_WITHOUT_PREVIEW = (".tif", ".tiff")

_POLICY = (
    "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
_STYLE = """\
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #212121; --quiet: #6b6b6b;
  --line: #d8d8d6; --hollow: #f1f1ef; --alarm: #a53c2d;
  --cell: clamp(7rem, 21vw, 20rem) }
@media (prefers-color-scheme: dark) { :root { --paper: #191919; --ink: #e6e6e4;
  --quiet: #a0a09d; --line: #3d3d3b; --hollow: #232322; --alarm: #f0907f } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.25rem; background: var(--paper); color: var(--ink);
  font: 16px/1.4 system-ui, sans-serif; width: fit-content; max-width: 100% }
h1 { font-size: 1.4rem; font-weight: 600; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; font-weight: 600; margin: 1.5rem 0 .25rem }
p { margin: .25rem 0; color: var(--quiet) }
a { color: inherit }
.scroll { overflow-x: auto; margin-top: .75rem }
table { border-collapse: separate; border-spacing: .5rem .35rem }
th { font-weight: 500; padding: 0; vertical-align: bottom }
th div { width: var(--cell); margin: 0 auto; overflow-wrap: break-word }
.name { color: var(--quiet); font-weight: 400 }
tbody th { vertical-align: middle }
.side { position: sticky; left: 0; z-index: 1; background: var(--paper);
  text-align: left; padding-right: .5rem }
.side div { width: max-content; max-width: min(10rem, 24vw); margin: 0 }
td { vertical-align: top; padding: 0 }
figure { margin: 0; width: var(--cell) }
.line { display: flex; flex-wrap: wrap; gap: 1rem .75rem; margin-top: .75rem }
.label { font-weight: 500; overflow-wrap: anywhere; white-space: pre-line }
img { display: block; width: 100%; height: auto; border: 1px solid var(--line) }
.none { display: grid; place-items: center; width: 100%; padding: .5rem;
  border: 1px solid var(--line); background: var(--hollow);
  color: var(--quiet); overflow-wrap: anywhere; font-size: .85rem; text-align: center }
.failed { color: var(--alarm) }
figcaption { font-size: .85rem; color: var(--quiet); margin-top: .2rem;
  font-variant-numeric: tabular-nums }
.frontier { display: block; width: 100%; max-width: 60rem; height: auto }
figcaption span { white-space: nowrap }
@media (max-width: 40rem) { :root { --cell: 42vw } body { padding: .75rem } }
"""


def make_page(
    axes: Sequence[Axis], mode: str, rows: Mapping[int, Row], title: str = ""
) -> str:
    """Return `index.html`; equal arguments give equal text.

    Args:
        axes: at least one.
        mode: "product" or "zip".
        rows: {index: row} of the members that are done or failed.
        title: by default what the sweep varies.
    """
    title = title or heading(axes, mode)
    counts = {"done": 0, "failed": 0}
    for row in rows.values():
        counts[status_of(row)] += 1
    blocks = arrange(axes, mode)
    # Frames without a picture are as large as the first one that there is.
    done_rows = (row for _, row in sorted(rows.items()) if row.file is not None)
    first = next((row for row in done_rows if row.width and row.height), None)
    shape = f"{first.width} / {first.height}" if first else "1 / 1"
    total = sum(len(row) for block in blocks for row in block.indices)
    done = f"{counts['done']} of {total} done"
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    notes = [note for note in (in_common(axes), done + failed) if note]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_text(title)}</title>",
        f"<style>\n{_STYLE}</style>",
        f"<h1>{_text(title)}</h1>",
        *(f"<p>{_text(note)}</p>" for note in notes),
        "<p>Losses before weights. Also: "
        '<a href="sheet.png">contact sheet</a>, <a href="manifest.csv">table</a>, '
        '<a href="manifest.json">manifest</a>.</p>',
        *(
            _table(block, rows, shape) if block.row_name else _line(block, rows, shape)
            for block in blocks
        ),
        *(_frontier(rows)),
        "</html>",
    ]
    text = "\n".join(parts) + "\n"
    # File names of other systems may hold what UTF-8 has no place for.
    return text.encode(errors="replace").decode()


def _frontier(rows: Mapping[int, Row]) -> list[str]:
    drawing = draw_frontier(rows)
    if not drawing:
        return []
    return [
        "<h2>What is gained and lost</h2>",
        "<p>Measured with AlexNet, which painted none of them; pictures that no other "
        "beats in both are joined.</p>",
        drawing,
    ]


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _breakable(text: str) -> str:
    """Escape, and let lines break where people would break a name."""
    return re.sub(r"([_.\-]+)(?=[^\W\d_])", r"\1<wbr>", _text(text))


def _line(block: Block, rows: Mapping[int, Row], shape: str) -> str:
    figures = [
        _figure(rows.get(index), label, shape, is_labelled=True)
        for label, index in zip(block.column_labels, block.indices[0], strict=True)
    ]
    name = f"<h2>{_text(block.column_name)}</h2>\n" if block.column_name else ""
    return f'{name}<div class="line">\n' + "\n".join(figures) + "\n</div>"


def _table(block: Block, rows: Mapping[int, Row], shape: str) -> str:
    span = len(block.column_labels)
    labels = "".join(
        f'<th scope="col"><div>{_breakable(label)}</div></th>'
        for label in block.column_labels
    )
    lines = [
        f"<h2>{_text(block.title)}</h2>" if block.title else "",
        '<div class="scroll"><table>',
        f'<thead><tr><th class="side"></th><th class="name" colspan="{span}">'
        f"{_text(block.column_name)}</th></tr>",
        f'<tr><th class="side name"><div>{_breakable(block.row_name)}</div></th>'
        f"{labels}</tr></thead>",
        "<tbody>",
    ]
    for label, indices in zip(block.row_labels, block.indices, strict=True):
        cells = []
        for across, index in zip(block.column_labels, indices, strict=True):
            parts = (f"{block.row_name} {label}", f"{block.column_name} {across}")
            name = ", ".join((*filter(None, (block.title,)), *parts))
            cells.append(f"<td>{_figure(rows.get(index), name, shape)}</td>")
        lines.append(
            f'<tr><th class="side" scope="row"><div>{_breakable(label)}</div></th>'
        )
        lines += [*cells, "</tr>"]
    return "\n".join(line for line in (*lines, "</tbody></table></div>") if line)


def _figure(
    row: Row | None, label: str, shape: str, *, is_labelled: bool = False
) -> str:
    name = f'<div class="label">{_breakable(label)}</div>' if is_labelled else ""
    style = f'style="aspect-ratio: {shape}"'
    if row is None:
        return f'<figure>{name}<div class="none" {style}>not there yet</div></figure>'
    if row.file is None:
        why = _text(f"failed: {row.error}" if row.error else "failed")
        return f'<figure>{name}<div class="none failed" {style}>{why}</div></figure>'
    address = _text(urllib.parse.quote(row.file, errors="replace"))
    if PurePath(row.file).suffix.lower() in _WITHOUT_PREVIEW:
        inner = f'<div class="none" {style}>{_text(row.file)}</div>'
    else:
        alt = _text(label.replace("\n", ", "))
        inner = (
            f'<img loading="lazy" src="{address}" width="{row.width}" '
            f'height="{row.height}" alt="{alt}">'
        )
    return (
        f'<figure>{name}<a href="{address}">{inner}</a>'
        f"<figcaption>{_caption(row)}</figcaption></figure>"
    )


def _caption(row: Row) -> str:
    losses = [
        f"<span>{name} {row.losses[name]:.3g}</span>"
        for name in ("content", "style")
        if name in row.losses
    ]
    losses += [
        f"<span>{title} {row.metrics[name]:.3g}</span>"
        for name, title in (("lpips", "LPIPS"), ("gram_gap", "Gram gap"))
        if name in row.metrics
    ]
    end = f"{row.steps} steps"
    if row.stopped:
        end += f", {row.stopped}"
    return "<br>".join(filter(None, (" · ".join(losses), _text(end))))
