"""The commands `jaxnst networks ...`: the list of networks, and their weights."""

import argparse
import json
from pathlib import Path
from typing import Any

from .options import QUIET, Command, flag, option, say


_EXAMPLES = """\
examples:
  jaxnst networks
      list the networks, and which weights are on disk

  jaxnst networks get vgg19.tv_in1k
      download full-precision weights of VGG-19, and keep them

  jaxnst networks get vgg19.tv_in1k@main
      the same from a branch of the repository, instead of the pinned commit

  jaxnst networks get googlenet --from googlenet.pth
      take the weights from a file: when offline, or when the Hub does not have them

  jaxnst networks convert mine.pth mine.safetensors
      write a file for `jaxnst stylize --network mine.safetensors`
"""


def _get(args: argparse.Namespace) -> int:
    from jaxnst.pretrained.inventory import get_weights

    path = get_weights(args.name, source=args.source, progress=not args.quiet)
    return 0 if args.quiet else _tell_file(path)


def _path(args: argparse.Namespace) -> int:
    from jaxnst.pretrained.inventory import weights_path

    say(str(weights_path(args.name)))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from jaxnst.pretrained.inventory import remove_weights

    for path in remove_weights(args.name):
        say(f"removed {path}")
    return 0


def _convert(args: argparse.Namespace) -> int:
    from jaxnst.pretrained.inventory import convert_weights

    kind = args.preprocessing
    return _tell_file(convert_weights(args.source, args.target, preprocessing=kind))


def _tell_file(path: Path) -> int:
    from jaxnst.pretrained.inventory import megabytes

    say(f"{path}  ({megabytes(path.stat().st_size)})")
    return 0


def _list(args: argparse.Namespace) -> int:
    from jaxnst.pretrained.inventory import list_weights

    entries = list_weights()
    if args.json:
        rows = [
            {
                "name": entry.spec.name,
                "architecture": entry.spec.architecture.name,
                "state": entry.state,
                "is_on_disk": bool(entry.paths),
                "bytes": entry.size,
                "file": str(entry.paths[0]) if entry.paths else None,
                "files": [str(path) for path in entry.paths],
                "repo": _place(entry.spec.source),
                "license": entry.spec.license,
                "origin": entry.spec.origin,
                "paper": entry.spec.paper,
                "content_layers": dict(entry.spec.content_layers),
                "style_layers": dict(entry.spec.style_layers),
                "layers": list(entry.spec.architecture.layer_names),
            }
            for entry in entries
        ]
        say(*json.dumps(rows, indent=2).split("\n"))
        return 0
    for entry in entries:
        spec = entry.spec
        say(f"{spec.name}  ({entry.state})")
        lines = [
            ("network", spec.architecture.name),
            ("origin", spec.origin),
            ("license", spec.license),
            ("paper", spec.paper),
        ]
        if place := _place(spec.source):
            lines.append(("on the Hub", place))
        lines += [("file", str(path)) for path in entry.paths]
        # Before every relu1_1 there is a conv1_1, which is rarely used.
        names = [layer.name for layer in spec.architecture]
        shown = [
            name
            for name in names
            if name[:4] != "conv" or name.replace("conv", "relu") not in names
        ]
        lines += [
            ("content", " ".join(spec.content_layers)),
            ("style", " ".join(spec.style_layers)),
            ("layers", " ".join(shown)),
        ]
        if shown != names:
            lines.append(("", "(and conv*_* before each relu*_*)"))
        for key, line in lines:
            say(f"  {key:10} {line}")
    return 0


def _place(source: Any) -> str | None:
    repo = getattr(source, "repo", None)
    return None if repo is None else f"{repo}@{source.revision}/{source.filename}"


_NAME = option(
    "name",
    "see `jaxnst networks`; NAME@REVISION: a commit, branch or tag there",
    "NAME",
)
NETWORKS = Command(
    run_fn=_list,
    help="list the networks, get and remove their weights",
    usage="jaxnst networks [--json] | get NAME | path NAME | rm NAME | convert IN OUT",
    description="""\
List the networks, their layers and where their weights are; get, find, remove and
convert weights.""",
    epilog=_EXAMPLES,
    options=(flag("--json", "print the list as JSON"),),
    actions={
        "get": Command(
            run_fn=_get,
            help="download weights, if they are not on disk",
            options=(
                _NAME,
                option(
                    "--from", "take them from this file instead", "FILE", dest="source"
                ),
                QUIET,
            ),
        ),
        "path": Command(
            run_fn=_path, help="print the path of weights on disk", options=(_NAME,)
        ),
        "rm": Command(
            run_fn=_remove, help="remove downloaded weights", options=(_NAME,)
        ),
        "convert": Command(
            run_fn=_convert,
            help="write weights as a safetensors file of jaxnst",
            options=(
                option("source", ".safetensors, .pth or .h5", "IN"),
                option("target", "ends in .safetensors", "OUT"),
                option(
                    "--preprocessing",
                    "input the network was trained on: torchvision, caffe or "
                    "tensorflow (default: what IN says, or else torchvision)",
                    "NAME",
                ),
            ),
        ),
    },
)
