"""The live page's server: three addresses, all of them only read.

/             the page, which asks for /state every two seconds
/state        its parts and data as JSON; 304 while nothing has changed (ETag: the store's revision)
/report.html  the page as a file to keep
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from paretoken.search.serving.access import Guard
from paretoken.search.serving.snapshot import Snapshot
from paretoken.spaces.errors import ParetokenError


def application(
    snapshot: Snapshot, *, host: str, names: Iterable[str] = (), token: str = ""
) -> Starlette:
    """The server as an ASGI application; host, names, token: see `access`."""

    def page(request: Request) -> Response:
        return HTMLResponse(snapshot.now().page)

    def state(request: Request) -> Response:
        moment = snapshot.now()
        tag = f'"{moment.revision}"'
        if request.headers.get("if-none-match", "").removeprefix("W/") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(moment.state, media_type="application/json", headers={"ETag": tag})

    def file(request: Request) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="report.html"'}
        return HTMLResponse(snapshot.file(), headers=headers)

    def answered(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """In a thread of its own, as Starlette does with plain functions; errors in words."""

        def run(request: Request) -> Response:
            try:
                return answer(request)
            except ParetokenError as error:  # the store is busy, gone, or was upgraded meanwhile
                return PlainTextResponse(f"{error}\n", 503, {"Retry-After": "5"})

        return run

    return Starlette(
        routes=[
            Route("/", answered(page)),
            Route("/state", answered(state)),
            Route("/report.html", answered(file)),
        ],
        middleware=[
            Middleware(Guard, host=host, names=tuple(names), token=token),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4),
        ],
    )
