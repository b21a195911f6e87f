"""`launch`: the server of the page, from its start to its end."""

import errno
import importlib.util
import os
import secrets
import shutil
import socket
import sys
import threading
import time
import webbrowser
from typing import Any

from PIL import EpsImagePlugin

from jaxnst._checks import check_count, expand_home, one_line, path_text, shown

from .guard import LOCAL_HOSTS, Guard


_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Where a server that listens at all addresses is reached on this machine.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_FIRST_PORT, _NUM_PORTS = 7860, 100
# Of a clip; pictures are smaller.
_MAX_UPLOAD = "100mb"
# Each page that watches holds one, and a handler needs one for each of its widgets.
_MAX_THREADS = 500


class _Uploads:
    """Gradio's own folder, one for the process: there while an app is served."""

    def __init__(self) -> None:
        self._count, self.path = 0, ""

    def enter(self) -> None:
        if self._count == 0:
            from .session import clear_temporary, make_temporary

            clear_temporary()
            self.path = str(make_temporary())
            os.environ["GRADIO_TEMP_DIR"] = self.path
        self._count += 1

    def leave(self) -> None:
        self._count -= 1
        if self._count == 0:
            shutil.rmtree(self.path, ignore_errors=True)


_UPLOADS = _Uploads()


class App:
    """A page that is served.

    Attributes:
        url: its address on this machine.
        share_url: its address for others; None unless it is shared.
    """

    def __init__(self, url: str, share_url: str | None, demo: Any, studio: Any):
        self.url, self.share_url = url, share_url
        self._demo, self.studio = demo, studio

    def wait(self) -> None:
        """Wait for Ctrl-C."""
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            if self.studio.is_busy:
                text = "keeping what is painted so far; Ctrl-C again ends at once"
                print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the server, keep the picture under way, remove the temporary files."""
        try:
            self.studio.close()
        finally:
            self._demo.close(verbose=False)
            _UPLOADS.leave()


def launch(
    *,
    output: str | os.PathLike[str] | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    auth: tuple[str, str] | None = None,
    share: bool = False,
    is_public: bool = False,
    browser: bool = False,
    block: bool = True,
    quiet: bool = False,
) -> App:
    """Serve the page, and return what ends it.

    Only this machine can reach it, unless `host` or `share` say otherwise; then a name
    and a password are asked for.

    Args:
        output: folder for the results, which has a folder for each day; by default
            `Pictures/jaxnst` in the user's home.
        host: address to listen at; "0.0.0.0" lets other machines in.
        port: port to listen at; by default the first free one from 7860 on.
        auth: name and password; by default, where others are let in, a password is made
            and printed.
        share: whether to ask Gradio's servers for a public address, which passes all
            pictures through them.
        is_public: whether to ask nobody for a password, as a Space does.
        browser: whether to open the page in the browser of this machine.
        block: whether to wait for Ctrl-C, and then end the server.
        quiet: whether to print nothing but a password that was made.

    Raises:
        ImportError: if the extra `app` is not installed.
        NotADirectoryError: if `output` is a file.
        OSError: if the port is taken.
        ValueError: if no port is free, or `host` is no address of this machine.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("the app needs Gradio; install it: pip install 'jaxnst[app]'")
    folder = expand_home("~/Pictures/jaxnst" if output is None else output)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"`output` {path_text(folder)} is no folder.")
    host = host.strip("[]")
    is_local = host in _LOOPBACK and not share
    if fault := _fault(host, 0):
        raise ValueError(f"`host` is {shown(host)}: {fault}.")
    port = _free_port(host) if port is None else _check_port(host, port)
    place = f"[{host}]" if ":" in host else host
    url = f"http://{_REACHED_AT.get(host, place)}:{port}"
    if auth is None and not is_local and not is_public:
        auth = ("jaxnst", secrets.token_urlsafe(9))
        print(f"name: {auth[0]}  password: {auth[1]}", flush=True)
    if not quiet:
        print(f"{url}  (Ctrl-C ends it)", flush=True)

    studio = None
    # Gradio opens what is drawn by Pillow, which would start Ghostscript for an EPS.
    EpsImagePlugin.gs_binary = False
    # Behind a password a name that was rebound is of no use: no cookie is sent to it.
    hosts = LOCAL_HOSTS if is_local and auth is None else ("*",)
    # A Space has nothing that a foreign page could not have by itself.
    origins = ["*"] if is_public else []
    _UPLOADS.enter()  # before Gradio is imported, which would make a folder of its own
    try:
        from starlette.middleware import Middleware

        from .page import EXAMPLES, STYLE, build_page, make_theme
        from .session import Studio

        guard = Middleware(Guard, folder=_UPLOADS.path, hosts=hosts, origins=origins)
        studio = Studio(folder)
        demo = build_page(studio)
        _, _, share_url = demo.queue(
            default_concurrency_limit=None, max_size=100
        ).launch(
            server_name=place,
            server_port=port,
            auth=auth,
            share=share,
            max_threads=_MAX_THREADS,
            # Files beside where it was started and temporary ones are allowed anyway.
            allowed_paths=[str(folder) for folder in EXAMPLES],
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            footer_links=[],
            run_history=False,
            max_file_size=_MAX_UPLOAD,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=make_theme(),
            css=STYLE,
            app_kwargs={
                "middleware": [guard],
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
        )
    except BaseException:  # Ctrl-C, too
        if studio is not None:
            studio.close()
        _UPLOADS.leave()
        raise
    if share_url:  # the tunnel of a shared page may change its host
        origins.append(share_url.partition("://")[2].rstrip("/"))
    app = App(url, share_url, demo, studio)
    if share_url and not quiet:
        print(share_url, flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    if block:
        try:
            app.wait()
        finally:
            app.close()
    return app


def _free_port(host: str) -> int:
    for port in range(_FIRST_PORT, _FIRST_PORT + _NUM_PORTS):
        if not _fault(host, port):
            return port
    raise ValueError(
        f"no port from {_FIRST_PORT} to {_FIRST_PORT + _NUM_PORTS - 1} is free; give "
        "another as `port`."
    )


def _check_port(host: str, port: int) -> int:
    check_count("port", port, maximum=65_535)
    if fault := _fault(host, port):
        raise OSError(f"port {port} of {host}: {fault}; give another as `port`.")
    return port


def _fault(host: str, port: int) -> str:
    """Return why nobody can listen there; empty if it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if os.name == "posix":  # on Windows it would take a port that is in use
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, UnicodeError) as error:  # a name too long
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        return "it is taken" if taken else one_line(error)
    return ""
