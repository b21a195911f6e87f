"""`jaxnst finish`, `compare`, `explain` and `show`: pictures that are there already."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxnst._checks import one_or_all, plain
from jaxnst.config import FILTERS, PRESETS, ClipConfig

from .options import (
    FILE_OPTIONS,
    LIMIT,
    NUMBER,
    QUIET,
    Command,
    check_picture_output,
    flag,
    option,
    read_input,
    say,
    write_picture,
)


_FINISH_EXAMPLES = """\
examples:
  jaxnst finish out.png -o crisp.png --denoise 0.2 --sharpen 0.5
      filters are applied in the order in which they are given

  jaxnst finish out.png -o comic.png --levels --halftone
      without an amount, as much as is usual

The same filters finish a painting: jaxnst stylize ... --finish sharpen:0.5,grain
"""
_EXPLAIN_EXAMPLES = """\
examples:
  jaxnst explain out.png --content photo.jpg --style painting.jpg
      a report, out.why.html, for any browser; it needs nothing beside it

  jaxnst explain out.png --content photo.jpg --style painting.jpg --sheets figures/
      its figures as PNG files, too
"""


class _Append(argparse.Action):
    """Note a filter and its amount, in the order of the command line."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *_: Any) -> None:
        name = self.option_strings[0].removeprefix("--")
        filters = namespace.filters or {}
        if name in filters:
            parser.error(f"--{name} is given twice")
        namespace.filters = filters | {name: values}


def _finish(args: argparse.Namespace) -> int:
    from jaxnst.finishing import check_filters, finish_picture
    from jaxnst.images import load_picture, read_record, save_picture
    from jaxnst.transfer.terminal import Screen

    filters = check_filters("finish", args.filters or {})
    if not filters:
        raise ValueError("no filter was given; see `jaxnst finish --help`")
    output = check_picture_output(args)
    given = Path(args.picture)
    if given.exists() and output.exists() and output.samefile(given):
        raise ValueError(f"output {output} is the picture itself; choose another")
    source = read_input(args.picture)
    screen = Screen(enabled=not args.quiet)
    if screen.is_terminal:
        total = len(filters) + 2
        screen.start_bar(is_transient=True, description="reading", total=total)
    try:
        picture = load_picture(source, argument="picture")
        check_picture_output(args, max(picture.rgb.shape))
        try:
            record = read_record(source)
            # The painting's settings stay; `--like` then paints it without the filters.
            record = record | {"finish": {**record.get("finish", {}), **filters}}
        except ValueError:
            record = {"finish": filters}
        image = picture.rgb
        for name, amount in filters.items():
            screen.update(description=name, advance=1)
            image = finish_picture(image, {name: amount})
        screen.update(description="writing", advance=1)
        form = {"bits": args.bits, "quality": args.quality, "record": record}
        write_picture(
            output, lambda path: save_picture(path, image, picture.alpha, **form)
        )
    finally:
        screen.stop()
    if not args.quiet:
        height, width = image.shape[:2]
        say(f"{output}  ({width} x {height})")
    return 0


def _compare(args: argparse.Namespace) -> int:
    from jaxnst.images.files import atomic_write, check_place

    output = None if args.json is None else check_place(Path(args.json))

    from jaxnst.images import load_picture, resize
    from jaxnst.metrics import format_table, measure
    from jaxnst.metrics.evaluation import LEGEND
    from jaxnst.pretrained import load_lpips_network
    from jaxnst.transfer.terminal import Screen

    content = load_picture(args.content, argument="content").rgb
    style = load_picture(args.style, argument="style").rgb
    # Load all of them before any is measured, so that a misspelled name shows at once.
    pictures = {
        name: load_picture(name, argument="picture").rgb for name in args.pictures
    }
    judge = load_lpips_network()
    rows = {}
    with Screen(enabled=sys.stderr.isatty()).working("measuring"):
        for name, picture in pictures.items():
            try:
                rows[name] = measure(picture, content, style, judge=judge)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        # At the size of the first picture, so that their fine detail is comparable.
        height, width = next(iter(pictures.values())).shape[:2]
        same = resize(content, (height, width))
        reference = measure(same, content, style, judge=judge)
    table = {plain(name): metrics for name, metrics in rows.items()}
    table |= {f"{plain(args.content)} (content)": reference}
    say(*f"{format_table(table)}\n\n{LEGEND}".split("\n"))
    if output is not None:
        found = {
            "content": args.content,
            "style": args.style,
            "reference": reference._asdict(),  # of the content picture itself
            "metrics": {name: metrics._asdict() for name, metrics in rows.items()},
        }
        with atomic_write(output) as beside:
            beside.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _explain(args: argparse.Namespace) -> int:
    from jaxnst.images.files import check_place

    output = Path(args.output or Path(args.picture).with_suffix(".why.html"))
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"the report is a .html file, got {output.name!r}")
    check_place(output)
    if args.sheets is not None and Path(args.sheets).is_file():
        raise ValueError(f"--sheets {args.sheets} is a file; give a folder")

    from jaxnst.images.metadata import FILMS
    from jaxnst.insight import explain

    if Path(args.picture).is_dir() or Path(args.picture).suffix.lower() in FILMS:
        if args.sheets is not None:
            raise ValueError("--sheets are of pictures; a clip has the report only")
    elif args.style is None:
        args.parser.error("the following arguments are required: --style")
    pictures = args.picture, args.content, one_or_all(args.style or [None])
    names = ("masks", "strength", "init", "network", "ablations")
    given = {name: vars(args)[name] for name in names}
    found = explain(*pictures, progress=not args.quiet, **given)
    found.save(output)
    sheets = [] if args.sheets is None else found.save_sheets(args.sheets)
    if not args.quiet:
        for sentence in found.advice:
            say(sentence)
        also = f", {len(sheets)} sheets in {args.sheets}" if sheets else ""
        say(f"{output}{also}  ({found.seconds:.0f} s)")
    return 0


def _show(args: argparse.Namespace) -> int:
    from jaxnst.images.metadata import read_record

    record = read_record(args.file)
    if args.json:
        say(*json.dumps(record, indent=2).split("\n"))
        return 0
    names = ("jaxnst", "kind", "preset", "inputs")
    first = {name: record[name] for name in names if name in record}
    for name, value in (first | {"changed": _changed(record)} | record).items():
        if name == "trace" and isinstance(value, dict):
            say(f"{name:10} of {len(value.get('step', ()))} steps, in --json")
        elif isinstance(value, dict):
            entries = {k: x for k, x in value.items() if x not in (None, {})}
            say(name, *(f"  {key:18} {_text(entry)}" for key, entry in entries.items()))
        else:
            say(f"{name:10} {_text(value)}")
    return 0


def _changed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from those of the preset, and of clips."""
    preset = PRESETS.get(record.get("preset", ""), PRESETS["default"])
    usual = preset.to_dict() | ClipConfig().to_dict()
    given = record.get("settings", {}) | record.get("clip", {})
    changed = {
        name: value
        for name, value in given.items()
        if name in usual and json.dumps(value) != json.dumps(usual[name])
    }
    for name, points in record.get("over_time", {}).items():
        parts = [each if isinstance(each, list) else [each] for each in points]
        changed[name] = "; ".join(":".join(map(_text, part)) for part in parts)
    return changed


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        is_flat = not any(isinstance(each, list | dict) for each in value)
        return (", " if is_flat else "; ").join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


FINISH = Command(
    run_fn=_finish,
    help="put filters over a picture: sharpen, grain, halftone, ...",
    usage="jaxnst finish PICTURE -o FILE --FILTER [AMOUNT] ...",
    description="Put filters over any picture; size and transparency stay.",
    epilog=_FINISH_EXAMPLES,
    options=(
        option("picture", "a picture file; - is standard input", "PICTURE"),
        option("-o --output", "picture to write, or -", "FILE", required=True),
        QUIET,
        *(
            option(
                f"--{name}",
                f"{known.help} ({known.least:g} to {known.most:g})",
                "A",
                group="filters",
                dest="filters",
                nargs="?",
                type=NUMBER,
                action=_Append,
            )
            for name, known in FILTERS.items()
        ),
        *FILE_OPTIONS,
    ),
)
COMPARE = Command(
    run_fn=_compare,
    help="measure how good pictures are, whoever painted them",
    usage="jaxnst compare PICTURE... --content FILE --style FILE [--json FILE]",
    description="""\
Measure pictures of one content in one style, with a network that none was painted
with (AlexNet).""",
    options=(
        option("pictures", "with the content's proportions", "PICTURE", nargs="+"),
        option("--content", "the content picture", "FILE", required=True),
        option("--style", "the style picture", "FILE", required=True),
        option("--json", "write the numbers there, too", "FILE"),
        LIMIT,
    ),
)
EXPLAIN = Command(
    run_fn=_explain,
    help="report why a picture looks as it does, and what to change",
    usage="jaxnst explain PICTURE --content FILE --style FILE [FILE ...] [options]",
    description="""\
Report why PICTURE, which jaxnst painted, looks as it does: which layer did what,
where it changed, where strokes come from, and which settings to change.""",
    epilog=_EXPLAIN_EXAMPLES,
    options=(
        option("picture", "a picture, a film or its frames' folder", "PICTURE"),
        option("--content", "its content picture, or clip", "FILE", required=True),
        option(
            "--style",
            "its style picture, or several; not for a film",
            "FILE",
            nargs="+",
        ),
        option(
            "-o --output",
            "the report (default: PICTURE's name and place, .why.html)",
            "FILE",
        ),
        option("--sheets", "write the figures there as PNG, too", "FOLDER"),
        option(
            "--no-ablations",
            "do not paint the pair without each layer: quicker",
            dest="ablations",
            action="store_false",
        ),
        option(
            "--mask",
            "the masks it was painted with, in their order; or rest, or alpha",
            "FILE",
            dest="masks",
            action="append",
        ),
        option("--strength", "the map of strengths it was painted with", "FILE"),
        option("--init", "the picture it started from", "FILE"),
        option("--network", "the file of weights it was painted with", "FILE"),
        QUIET,
        LIMIT,
    ),
)
SHOW = Command(
    run_fn=_show,
    help="print how a picture or a film was made",
    description="Print the record that jaxnst keeps inside the files it saves.",
    options=(
        option("file", "a picture, a film or its frames' folder", "FILE"),
        flag("--json", "print JSON"),
        LIMIT,
    ),
)
