"""Ten thousand strings at each place where text comes in: a clear error, or it is understood.

Nothing is executed, nothing written: an audit hook sees every file that is opened for writing,
every process, every connection and every `exec` of code, and the folder and the database are
compared before and after. That the hook sees such things is tested first.
"""

from __future__ import annotations

import random
import re
import string
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.cli.generate import _read
from paretoken.search.query.grammar import parse
from paretoken.search.query.selecting import NothingMatches, condition
from paretoken.search.query.tokens import Source
from paretoken.spaces.errors import BadInput, ParetokenError
from paretoken.spaces.settings import dumps, loads
from paretoken.spaces.space import load

MANY = 10_000
INJECTIONS = [
    "fid < 60; DROP TABLE trials",
    "fid < 60' OR '1'='1",
    "1=1 UNION SELECT * FROM studies",
    "fid < (SELECT max(fid) FROM points)",
    "verifier == \"x'); ATTACH DATABASE 'pwned.db' AS p; --\"",
    "verifier == 'x\"); DELETE FROM trials; --'",
    "fid < 60 -- and speedup > 2",
    "fid < 60 /* */ and speedup > 2",
    '__import__("os").system("touch pwned")',
    "().__class__.__bases__[0].__subclasses__()",
    'exec(\'open("pwned", "w")\')',
    "lambda: open('pwned', 'w')",
    "{{ 7 * 7 }} and ${HOME} and $(touch pwned) and `touch pwned`",
    "fid < 60\x00 or 1",
    "verifier == 'a\x00b'",
    "fid < :param and fid < ? and fid < %(x)s",
    "decoder.verifier$.is == 'x'",
    "fid < 1e308 and fid > -1e308 and speedup != 1e-320",
    "fid < 9999999999999999999999999999",
    "'\N{RIGHT-TO-LEFT OVERRIDE}' == verifier",
    "ﬁd < 60",
    "fid < ٣",
    "\ud800 < 3",
    "verifier == '%' or verifier == '_' or verifier == 'a%'",
    "a" * 60_000,
    "(" * 20_000,
    "not " * 12_000,
    "-" * 10_000,
    "fid" + "." * 10_000,
    "fid in (" + "1, " * 10_000,
]
SOUP = [
    "fid", "kid", "speedup", "images_per_s", "window", "verifier", "decoder", "decoder.verifier",
    "decoder.drafter.window", "size", "sampling.temperature", "nothing", "is", "and", "or", "not",
    "in", "(", ")", ",", "<", "<=", ">", ">=", "==", "=", "!=", "≤", "<>", "&&", "%", "1", "50",
    "2.5", "-3", "+2", "1e9", "1e999", ".5", "'grouped'", '"exact"', "''", "true", "false", "null",
    "missing", "'", '"', ";", "--", "$", "\\", "\n",
]  # fmt: skip


def soup(draw: random.Random) -> str:
    """Words of the language in any order; now and then a sentence with one word replaced."""
    if draw.random() < 0.5:
        return draw.choice(["", " "]).join(draw.choices(SOUP, k=draw.randint(1, 12)))
    words = "( fid <= 60 and speedup >= 2 ) or not verifier in ( 'exact' , 'grouped' )".split()
    for _ in range(draw.randint(0, 2)):
        words[draw.randrange(len(words))] = draw.choice(SOUP)
    return " ".join(words)


def noise(draw: random.Random) -> str:
    """Bytes as a command line would hand them over, printable text, or any characters."""
    kind, size = draw.random(), draw.randint(0, 60)
    if kind < 0.4:
        return draw.randbytes(size).decode("utf-8", "surrogateescape")
    if kind < 0.8:
        return "".join(draw.choices(string.printable, k=size))
    return "".join(chr(draw.randrange(sys.maxunicode)) for _ in range(size))


def strings(seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    yield from INJECTIONS
    for _ in range(MANY // 2):
        yield soup(draw)
        yield noise(draw)


# --------------------------------------------------------------------------- what nobody may do

_WATCHED: list[list[str] | None] = [None]
_NEVER = (
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree",
)  # fmt: skip


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    seen = _WATCHED[0]
    if seen is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if writes or (isinstance(flags, int) and flags & 3):
            seen.append(f"open {path!r} {mode!r}")
    elif event == "compile" and b"_generated_" in (arguments[0] or b""):
        pass  # SQLAlchemy writes itself a function when it meets a construct for the first time
    elif event == "compile" and arguments[1] in (None, "<string>", b"<string>"):
        seen.append(f"compile {arguments[0]!r}")
    elif event in _NEVER:
        seen.append(f"{event} {arguments!r}")


sys.addaudithook(_hook)  # there is no way to remove one; it does nothing outside `watched`


@contextmanager
def watched() -> Iterator[list[str]]:
    """What was done meanwhile that nobody may do."""
    seen: list[str] = []
    _WATCHED[0] = seen
    try:
        yield seen
    finally:
        _WATCHED[0] = None


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file but SQLite's shared memory, in which readers note where they are."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def test_the_watch_sees_what_nobody_may_do(tmp_path: Path) -> None:
    import os
    import subprocess

    with watched() as seen:
        eval("1 + 1")
        (tmp_path / "x").write_text("x")
        subprocess.run(["true"], check=True)
        os.remove(tmp_path / "x")
        (tmp_path / "absent").exists()
    said = " ".join(seen)
    assert all(word in said for word in ("compile", "open", "subprocess.Popen", "os.remove"))
    assert "absent" not in said


# ------------------------------------------------------------------------------------- --where


def attempt(ask: Callable[[str], object], text: str) -> object:
    """What comes of a text; a ParetokenError in words that a terminal can show, or a failure."""
    try:
        return ask(text)
    except ParetokenError as error:
        said = str(error)
        assert said and len(said) < 3000
        said.encode()  # no half of a character
        return error


def test_any_text_is_a_condition_or_a_clear_error(store: Store, tmp_path: Path) -> None:
    before, trials = snapshot(tmp_path), store.trials("demo")
    parsed = 0
    # What only parses is asked of all, the database of every twentieth: that takes milliseconds.
    with watched() as seen:
        for at, text in enumerate(strings(seed=0)):
            found = attempt(lambda text: parse(Source(text)), text)
            if isinstance(found, BadInput):
                column = re.match(
                    r"--where, column (\d+): .+\.\n    .*\n    +\^$", str(found), re.S
                )
                assert column and int(column[1]) <= len(text) + 1, str(found)
                continue
            parsed += 1
            if at < len(INJECTIONS) or parsed % 20 == 0:
                attempt(lambda text: store.matching("demo", condition(store, "demo", text)), text)
    assert seen == []
    assert parsed > 500  # enough of them get as far as that
    assert store.trials("demo") == trials and snapshot(tmp_path) == before


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_injections_at_the_command_line_do_nothing(
    cli: Callable[..., Any], url: str, store: Store, text: str, tmp_path: Path
) -> None:
    before, trials = snapshot(tmp_path), store.trials("demo")
    for option in ("--where", "--budget"):
        ran = cli("best", "demo", option, text)
        assert ran.code in (0, 1, 2) and "unexpected" not in ran.err and "Traceback" not in ran.err
        assert (ran.code == 0) == (not ran.err)
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "pwned.db").exists()
    assert store.trials("demo") == trials and snapshot(tmp_path) == before


def test_any_text_is_a_budget_or_a_clear_error(store: Store) -> None:
    from paretoken.search.query.budget import budget
    from paretoken.search.query.naming import Names

    names = Names(store.numbers("demo"), lambda: store.settings("demo"))
    plain = store.trials("demo", {0})[0].quantities
    understood, draw = 0, random.Random(2)
    words = ["fid", "speedup", "<=", ">=", "+2", "-0.5", "60", "%", ",", "and"]
    near = (" ".join(draw.choices(words, k=draw.randint(3, 7))) for _ in range(MANY))
    with watched() as seen:
        for text in (*near, *strings(seed=2)):
            found = attempt(lambda text: budget(text, names, plain), text)
            understood += not isinstance(found, ParetokenError)
    assert seen == [] and understood > 5


# ------------------------------------------------------------------------------------- loaders


def documents(seed: int) -> Iterator[bytes]:
    """Bytes, strings, and a settings file with a few bytes replaced, left out or doubled."""
    draw = random.Random(seed)
    good = dumps(
        {"decoder": {"is": "decoders/plain"}, "runtime": {"is": "runtimes/local"}}
    ).encode()
    for text in strings(seed):
        yield text.encode("utf-8", "surrogatepass")
        broken = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(broken))
            broken[at : at + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
        yield bytes(broken)
    yield b"[" * 100_000
    yield b'{"schema":1,"candidate":' * 20_000
    yield b'{"schema":1,"candidate":{"a":' + b"9" * 10_000 + b"}}"


def test_any_settings_file_is_settings_or_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"

    def read_file(_: str) -> object:
        return _read(path)

    for at, data in enumerate(documents(seed=3)):
        found = attempt(loads, data.decode("utf-8", "replace"))
        assert isinstance(found, BadInput | dict)
        if at % 50 == 0 or at > 2 * MANY:  # through a file as well
            path.write_bytes(data)
            with watched() as seen:
                attempt(read_file, "")
            assert seen == [] and path.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def test_any_space_is_a_space_or_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an existing file is run, and these are none."""
    monkeypatch.chdir(tmp_path)
    load("fashion-small")  # what it imports is compiled and kept now
    endings = [".py:SPACE", ".py", ":SPACE", "/../x.py:SPACE", ".py:", "\0.py:SPACE"]
    draw = random.Random(4)
    with watched() as seen:
        for text in strings(seed=4):
            if text.strip() not in ("fashion-small",):
                attempt(load, text)
                attempt(load, text + draw.choice(endings))
    assert seen == [] and list(tmp_path.iterdir()) == []


def test_any_store_is_a_store_or_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    starts = ["", "", "sqlite:///", "sqlite://", "sqlite:", "sqlite+pysqlite:///", "mysql://",
              "postgresql+x://", "sqlite:///file:", "sqlite:////", "sqlite:///x?mode="]  # fmt: skip
    draw = random.Random(5)

    def ask(text: str) -> None:
        Store.open(text, create=False).close()

    with watched() as seen:
        for text in strings(seed=5):
            attempt(ask, draw.choice(starts) + text)
    assert seen == [] and list(tmp_path.iterdir()) == []


def test_nothing_matches_is_an_error_of_ours() -> None:
    assert issubclass(NothingMatches, ParetokenError)
