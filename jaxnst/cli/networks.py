"""The commands `jaxnst networks ...`: the list of networks, and their weights."""

import argparse
import json
from typing import Any


_EXAMPLES = """\
examples:
  jaxnst networks
      list the networks, and which weights are on disk

  jaxnst networks get vgg19.tv_in1k
      download the weights that painting needs, and keep them

  jaxnst networks get vgg19.tv_in1k@main
      the same from a branch of the repository, instead of the pinned commit

  jaxnst networks get googlenet --from googlenet.pth
      take the weights from a file: when offline, or when the Hub does not have them

  jaxnst networks convert mine.pth mine.safetensors
      write a file for `jaxnst stylize --network mine.safetensors`
"""


def add_networks(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the parser of `networks` and its own commands.

    Args:
        commands: argparse's subparsers, to which it is added.
        common: parser of the options that all commands have.
    """
    networks = commands.add_parser(
        "networks",
        parents=[common],
        help="list the networks, get and remove their weights",
        usage="jaxnst networks [--json] | get NAME | path NAME | rm NAME | "
        "convert IN OUT",
        description="List the networks, their layers and where their weights are; get, "
        "find, remove and convert weights.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    networks.add_argument("--json", action="store_true", help="print the list as JSON")
    # Without `prog`, the usage above would be part of their names.
    actions = networks.add_subparsers(
        dest="action", metavar="ACTION", prog="jaxnst networks"
    )

    def add_action(name: str, help_text: str) -> Any:
        # SUPPRESS: its default must not reset a `--debug` given before it.
        action = actions.add_parser(
            name, help=help_text, description=help_text, allow_abbrev=False
        )
        action.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show tracebacks of errors",
        )
        return action

    get = add_action("get", "download weights, if they are not on disk")
    path = add_action("path", "print the path of weights on disk")
    remove = add_action("rm", "remove downloaded weights")
    for action in (get, path, remove):
        action.add_argument(
            "name",
            metavar="NAME",
            help="see `jaxnst networks`; NAME@REVISION: a commit, branch or tag there",
        )
    get.add_argument(
        "--from", dest="source", metavar="FILE", help="take them from this file instead"
    )
    get.add_argument("-q", "--quiet", action="store_true", help="print nothing")
    convert = add_action("convert", "write weights as a safetensors file of jaxnst")
    convert.add_argument("source", metavar="IN", help=".safetensors, .pth or .h5")
    convert.add_argument("target", metavar="OUT", help="ends in .safetensors")
    convert.add_argument(
        "--preprocessing",
        metavar="NAME",
        help="input the network was trained on: torchvision, caffe or tensorflow "
        "(default: what IN says, or else torchvision)",
    )


def run_networks(args: argparse.Namespace) -> int:
    """Run `jaxnst networks ...` and return its exit code.

    Args:
        args: parsed arguments.
    """
    from jaxnst.pretrained import inventory

    if args.action is None:
        return _list(args)
    if args.action == "path":
        print(inventory.weights_path(args.name))
        return 0
    if args.action == "rm":
        for path in inventory.remove_weights(args.name):
            print(f"removed {path}")
        return 0
    if args.action == "get":
        path = inventory.get_weights(
            args.name, source=args.source, progress=not args.quiet
        )
        if args.quiet:
            return 0
    else:
        path = inventory.convert_weights(
            args.source, args.target, preprocessing=args.preprocessing
        )
    print(f"{path}  ({inventory.megabytes(path.stat().st_size)})")
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
        print(json.dumps(rows, indent=2))
        return 0
    for entry in entries:
        spec = entry.spec
        print(f"{spec.name}  ({entry.state})")
        lines = [
            ("network", spec.architecture.name),
            ("origin", spec.origin),
            ("license", spec.license),
            ("paper", spec.paper),
        ]
        if place := _place(spec.source):
            lines.append(("on the Hub", place))
        lines += [("file", str(path)) for path in entry.paths]
        lines.append(("content", " ".join(spec.content_layers)))
        lines.append(("style", " ".join(spec.style_layers)))
        # Before every relu1_1 there is a conv1_1, which is rarely used.
        names = [layer.name for layer in spec.architecture]
        others = [
            name
            for name in names
            if name.startswith("conv") and name.replace("conv", "relu") in names
        ]
        shown = [name for name in names if name not in others]
        lines.append(("layers", " ".join(shown)))
        for key, line in lines:
            print(f"  {key:10} {line}")
        if others:
            print(f"  {'':10} (and conv*_* before each relu*_*)")
    return 0


def _place(source: Any) -> str | None:
    repo = getattr(source, "repo", None)
    return None if repo is None else f"{repo}@{source.revision}/{source.filename}"
