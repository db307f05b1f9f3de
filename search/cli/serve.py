"""`paretoken serve`: a study as a page that renews itself while a search runs."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from typing import Annotated

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Device, Store, Study
from paretoken.spaces.errors import BadInput

_SHORTEST = 16  # characters of a token


def run(
    study: Study,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="HOST",
            help="Where to listen: 127.0.0.1 is this machine alone, 0.0.0.0 everybody (IPv4).",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, metavar="PORT", help="0 takes a free one."),
    ] = 8765,
    token: Annotated[
        str,
        typer.Option(
            "--token",
            envvar="PARETOKEN_TOKEN",
            metavar="TOKEN|auto",
            help="What whoever looks has to know; auto makes one. Required beyond loopback.",
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Answer to this name too: that of a proxy in front, say; repeatable.",
        ),
    ] = None,
    objectives: Annotated[
        str,
        typer.Option(
            "--objectives", metavar="NAME,NAME", help="Judge by these instead of the study's own."
        ),
    ] = "",
    device: Device = "",
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show the study's report live: the page follows a search without being loaded again.

    Filter, zoom and axes stay as they are while the front grows. The store is only read; the search
    may run anywhere that writes to it. Only this machine can look by default. For others name
    a --host, and a token: whoever knows it sees the study. There is no encryption: across a network
    that is not yours go through SSH (ssh -L 8765:127.0.0.1:8765 MACHINE), with no --host at all.

    \b
      paretoken serve first
      paretoken serve first --store postgresql://me@db/paretoken --port 0
      paretoken serve first --host 0.0.0.0 --token auto
    """
    import uvicorn

    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.serving.access import is_loopback
    from paretoken.search.serving.app import application
    from paretoken.search.serving.snapshot import Snapshot

    token = token.strip()
    if not token and not is_loopback(host):
        raise BadInput(
            f"--host {host} lets others connect, so whoever looks has to know a token: add "
            "--token auto, which makes one, or leave --host out."
        )
    token = secrets.token_urlsafe(24) if token == "auto" else token
    if token and (len(token) < _SHORTEST or not token.isascii() or not token.isprintable()):
        raise BadInput(
            f"a token has {_SHORTEST} ASCII characters at least, and this one has {len(token)}: "
            "--token auto makes a good one."
        )
    with OpenStore.open(store, create=False) as opened, _listening(host, port) as listener:
        snapshot = Snapshot(opened, study, objectives, device)
        snapshot.now()  # an unknown study, objective or device is told here and now
        app = application(snapshot, host=host, names=allow_host or (), token=token)
        url = _url(host, listener.getsockname()[1], token)
        if as_json:
            print(json.dumps({"study": study, "url": url}), flush=True)
        else:
            print(f"study {study} at  {url}", flush=True)
            print("Ctrl-C ends this page, and no search.", file=sys.stderr, flush=True)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="off"
        )
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn has ended in order, and hands it on
            print("ended.", file=sys.stderr)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises BadInput where none can."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # Of a name that is not known the number is no errno; of the rest Python says too much.
        known = error.errno is not None and not isinstance(error, socket.gaierror)
        told = os.strerror(error.errno or 0) if known else error.strerror or error
        raise BadInput(
            f"cannot listen on {host} port {port}: {told}. Another program may "
            "be there: --port 0 takes a free one."
        ) from error


def _url(host: str, port: int, token: str) -> str:
    """The address to open: by name where the server listens everywhere."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")
