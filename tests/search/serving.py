"""A live page's server in a thread of the test's process, on a free port of loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from paretoken.cache.store import Store
from paretoken.search.serving.app import application
from paretoken.search.serving.snapshot import Snapshot


@contextmanager
def serving(
    store: Store, study: str = "demo", *, host: str = "127.0.0.1", token: str = ""
) -> Iterator[str]:
    """Its address, without a slash at the end. host: the one that the server believes to have."""
    app = application(Snapshot(store, study), host=host, names=("my.proxy",), token=token)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
