"""`jaxnst app`: the page in the browser."""

import argparse
import os
import sys
import threading

from .options import EXIT_INTERRUPTED, QUIET, WHOLE, Command, as_argument, flag, option


_EXAMPLES = """\
examples:
  jaxnst app
      a page on this machine; opens it in the browser

  jaxnst app --output ~/paintings --port 8000
      results go there, into a folder for each day

  jaxnst app --share --auth me:secret
      an address for others, through Gradio's servers

  jaxnst app --host 0.0.0.0
      for other machines of this network, with a password that is printed
"""


def _parse_auth(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise ValueError("it must be NAME:PASSWORD")
    return name, password


def _app(args: argparse.Namespace) -> int:
    from jaxnst.app.serving import launch

    try:
        launch(
            output=args.output,
            host=args.host,
            port=args.port,
            auth=args.auth,
            share=args.share,
            browser=args.browser,
            quiet=args.quiet,
        )
    except KeyboardInterrupt:
        # Python would wait for the worker, which a second Ctrl-C does not want.
        if any(each.name.startswith("painting") for each in threading.enumerate()):
            sys.stdout.flush()
            os._exit(EXIT_INTERRUPTED)
    return 0


APP = Command(
    run_fn=_app,
    help="open a page in the browser to paint with",
    usage="jaxnst app [options]",
    description="""\
Serve a page on this machine: drop a photo and a painting, see the picture grow, and
stop when it is good. Needs the extra: pip install 'jaxnst[app]'""",
    epilog=_EXAMPLES,
    options=(
        option("-o --output", "folder for results (~/Pictures/jaxnst)", "FOLDER"),
        option("--port", "port (the first free one from 7860 on)", "N", type=WHOLE),
        option(
            "--host",
            "address to listen at (default: %(default)s); 0.0.0.0 lets others in, with "
            "a password",
            "ADDRESS",
            default="127.0.0.1",
        ),
        option(
            "--auth",
            "ask for a name and a password",
            "NAME:PASSWORD",
            type=as_argument(_parse_auth),
        ),
        flag("--share", "ask Gradio's servers for a public address; with a password"),
        option(
            "--no-browser",
            "do not open the page",
            dest="browser",
            action="store_false",
        ),
        QUIET,
    ),
)
