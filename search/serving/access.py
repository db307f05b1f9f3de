"""Who may look: the Host header against DNS rebinding, and a token where others can connect.

A page of another site may make a browser ask this server under a name of its own that leads here
(DNS rebinding). Such a request carries that name as its Host, and is refused: a server on loopback
answers to loopback's names only; any other answers to addresses, which cannot be rebound, to the
machine's own name, and to names that it was told.

The token is compared in constant time. It comes as `Authorization: Bearer TOKEN`, as
`?token=TOKEN`, or as the cookie that the latter leaves, so that it stays in no history and no link.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_COOKIE = "paretoken_token"
# The page is one file: its styles and scripts stand in it. WebGL needs 'unsafe-eval' (regl compiles
# its drawing commands), and plotly makes its pictures of blobs.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that lets through whom the module's rules allow. token: "" for none."""

    def __init__(self, app: ASGIApp, *, host: str, names: Iterable[str] = (), token: str) -> None:
        self._app, self._token = app, token.encode()
        self._own = is_loopback(host)
        self._names = {host.lower(), *_LOOPBACK, *(name.lower() for name in names)}
        if not self._own:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refused(Request(scope))
        await (refused or self._app)(scope, receive, guarded)

    def _refused(self, request: Request) -> Response | None:
        name = host_name(request.headers.get("host", ""))
        if not self._known(name):
            return PlainTextResponse(
                f"This server is not called {name!r}: open it by its address, or start it with "
                f"--allow-host {name or 'NAME'}.\n",
                421,
            )
        if not self._token:
            return None
        cookie = f"{_COOKIE}_{request.url.port or 0}"
        if self._fits(asked := request.query_params.get("token", "")):
            rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
            place = request.url.path + (f"?{urlencode(rest)}" if rest else "")
            answer = RedirectResponse(place, 303)
            answer.set_cookie(cookie, asked, httponly=True, samesite="lax")
            return answer
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._fits(given.strip()):
            return None
        if self._fits(request.cookies.get(cookie, "")):
            return None
        return PlainTextResponse(
            "This page needs the token that `paretoken serve` has printed: open the whole address "
            "that it gave, with ?token=… at its end.\n",
            401,
            {"WWW-Authenticate": "Bearer"},
        )

    def _known(self, name: str) -> bool:
        return name in self._names or (not self._own and _is_address(name))

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token)


def host_name(header: str) -> str:
    """The name or address in a Host header, without port and brackets, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach a server bound to that host."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
