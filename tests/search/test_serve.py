"""`paretoken serve`: it follows the store, and shows it to nobody else."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from paretoken.cache.store import Store
from paretoken.search.serving.access import host_name, is_loopback
from paretoken.search.serving.snapshot import Snapshot

Cli = Callable[..., Any]
Serving = Callable[..., Any]
TOKEN = "sesame-sesame-sesame"


def ask(address: str, path: str = "/", method: str = "GET", **headers: str) -> Any:
    """The answer to one request: status, headers, body; headers' names with _ for -."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in named, skip_accept_encoding=True)
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_the_state_follows_the_store(url: str, serving: Serving) -> None:
    with Store.open(url) as store, serving(store) as address:
        status, headers, body = ask(address, "/state")
        found = json.loads(body)
        assert status == 200 and found["data"]["kind"].count("front") == 3
        assert "FID 70.0" in found["parts"]["summary"]
        tag = headers["ETag"]
        assert ask(address, "/state", If_None_Match=tag)[::2] == (304, b"")
        tree = store.trials("demo", {2})[0].tree
        store.propose("demo", 8, dict(tree) | {"runtime": {"is": "runtimes/local"}}, ())
        for _ in range(300):  # it rests four times as long as the first reading took
            time.sleep(0.1)
            status, headers, body = ask(address, "/state", If_None_Match=tag)
            if status == 200:
                break
        assert status == 200 and headers["ETag"] != tag
        assert json.loads(body)["data"]["state"][-1] == "pending"


def test_the_page_is_the_report_and_can_be_kept(url: str, serving: Serving) -> None:
    with Store.open(url, create=False) as store, serving(store) as address:
        status, headers, page = ask(address)
        assert status == 200 and b"data-live" in page and b"the logits of &lt;row&gt;" in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        _, headers, page = ask(address, "/report.html")
        assert b"<body data-live" not in page and "attachment" in headers["Content-Disposition"]
        assert ask(address, "/state", "POST")[0] == 405
        assert ask(address, "/../etc/passwd")[0] == 404
        _, headers, small = ask(address, Accept_Encoding="gzip")
        assert headers["Content-Encoding"] == "gzip" and len(small) < len(page) / 2


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "10.0.0.1", "", "my.proxy.x"])
def test_a_name_that_leads_here_is_refused(url: str, name: str, serving: Serving) -> None:
    """What a browser sends that was tricked into asking (DNS rebinding)."""
    with Store.open(url, create=False) as store, serving(store) as address:
        status, _, body = ask(address, "/state", Host=name)
        assert status == 421 and b"--allow-host" in body and b"fid" not in body


@pytest.mark.parametrize(
    "name", ["localhost:8765", "127.0.0.1", "[::1]:9", "MY.proxy", "LocalHost"]
)
def test_its_own_names_are_answered(url: str, name: str, serving: Serving) -> None:
    with Store.open(url, create=False) as store, serving(store) as address:
        assert ask(address, "/state", Host=name)[0] == 200


def test_beyond_loopback_addresses_are_answered_and_strange_names_are_not(
    url: str, serving: Serving
) -> None:
    with Store.open(url, create=False) as store:
        with serving(store, host="0.0.0.0", token=TOKEN) as address:
            known = {"Authorization": f"Bearer {TOKEN}"}
            for name in ("10.1.2.3:80", "[fe80::1]", socket.gethostname()):
                assert ask(address, "/state", Host=name, **known)[0] == 200
            assert ask(address, "/state", Host="evil.example", **known)[0] == 421


def test_the_token_opens_and_nothing_else_does(url: str, serving: Serving) -> None:
    with Store.open(url, create=False) as store, serving(store, token=TOKEN) as address:
        for path in ("/", "/state", "/report.html", "/nothing"):
            for wrong in ("", f"?token={TOKEN[:-1]}", f"?token={TOKEN}x", "?token=%FF"):
                status, headers, body = ask(address, path + wrong)
                assert status == 401 and b"token" in body and b"fid" not in body
                assert headers["WWW-Authenticate"] == "Bearer"
        assert ask(address, "/state", Authorization="Bearer nothing")[0] == 401
        assert ask(address, "/state", Authorization=f"Basic {TOKEN}")[0] == 401
        assert ask(address, "/state", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_the_token_leaves_the_address_for_a_cookie(url: str, serving: Serving) -> None:
    with Store.open(url, create=False) as store, serving(store, token=TOKEN) as address:
        status, headers, _ = ask(address, f"/state?token={TOKEN}")
        assert status == 303 and headers["Location"] == "/state"
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
        assert ask(address, "/state", Cookie=cookie.partition(";")[0])[0] == 200
        assert ask(address, "/state", Cookie=cookie.partition("=")[0] + "=wrong")[0] == 401


def test_names_in_a_host_header() -> None:
    assert [host_name(h) for h in ("A.b:80", "[::1]:80", "[::1]", "1.2.3.4", "")] == [
        "a.b", "::1", "::1", "1.2.3.4", "",
    ]  # fmt: skip
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("10.0.0.1")


def test_a_study_that_moves_is_not_read_all_the_time(url: str, monkeypatch: Any) -> None:
    """Reading takes a tenth of a second of a made clock: four more go by before the next."""
    now, reads = [0.0], [0]
    with Store.open(url, create=False) as store:
        snapshot = Snapshot(store, "demo", clock=lambda: now[0])
        look = sys.modules["paretoken.search.serving.snapshot"].look

        def slow(*given: Any) -> Any:
            reads[0] += 1
            now[0] += 0.1
            return replace(look(*given), revision=str(reads[0]))

        monkeypatch.setattr("paretoken.search.serving.snapshot.look", slow)
        snapshot.now()
        now[0] = 0.49
        assert snapshot.now().revision == "1"
        now[0] = 0.51
        assert snapshot.now().revision == "2"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--host", "0.0.0.0"), "--token auto"),
        (("--host", "0.0.0.0", "--token", "short"), "16 ASCII characters"),
        (("--token", "short"), "16 ASCII characters"),
        (("--device", "H100"), "no device of this study"),
        (("--host", "no.such.host.invalid", "--token", "auto"), "cannot listen"),
    ],
)
def test_what_cannot_be_served_is_refused(cli: Cli, url: str, words: Any, told: str) -> None:
    ran = cli("serve", "demo", "--port", "0", *words)
    assert ran.code == 2 and told in ran.err and not ran.out


def test_unknown_studies_and_taken_ports_are_told_at_once(cli: Cli, url: str) -> None:
    assert "no study is called 'nobody'" in cli("serve", "nobody", "--port", "0").err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cli("serve", "demo", "--port", str(taken.getsockname()[1]))
    assert ran.code == 2 and "--port 0 takes a free one" in ran.err
    assert ran.err.lower().count("already in use") == 1


def test_control_c_ends_it_in_order(url: str) -> None:
    command = [sys.executable, "-m", "paretoken.search", "serve", "demo", "--port", "0", "--json"]
    ran = subprocess.Popen(
        [*command, "--token", "auto"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert ran.stdout is not None
        address = urlsplit(json.loads(ran.stdout.readline())["url"])
        place = f"{address.scheme}://{address.netloc}"
        assert ask(place, "/state")[0] == 401
        assert ask(place, f"/state?{address.query}")[0] == 303
        ran.send_signal(signal.SIGINT)
        _, errors = ran.communicate(timeout=30)
    finally:
        ran.kill()
    assert ran.returncode == 0 and errors == "ended.\n"
