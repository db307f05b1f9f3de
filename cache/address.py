"""Where a store is: its URL, how it is shown without secrets, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from paretoken.spaces.errors import BadInput, Unreadable, short

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_ELSEWHERE = "name another store with --store or PARETOKEN_STORE"

# What SQLite and the file system say (parts of it, in lower case), and the way out.
_WAYS_OUT = {
    "not a database": f"it is some other file, left as it is: {_ELSEWHERE}.",
    "malformed": "the file is damaged or cut short: restore a copy, or save what is left with "
    "`sqlite3 FILE .recover`.",
    "locked": "another process held it for 30 seconds: try again when that one is done.",
    "readonly": "what is stored is safe, but nothing can be added: allow writing to the file and "
    f"its folder, or {_ELSEWHERE}.",
    "permission denied": f"check the permissions of the file and its folder, or {_ELSEWHERE}.",
    "unable to open": f"check the permissions of the file and its folder, or {_ELSEWHERE}.",
    "is full": "free some space and try again; what was stored before is safe.",
    # What SQLite says of a disk so full that there is no room for the index of its log.
    "disk i/o error": "free some space, or see to the disk, and try again.",
}


_LEAST_BYTES = 512  # of an SQLite file: one page; it takes a shorter one for an empty database


@dataclass(frozen=True)
class Address:
    """A parsed store URL. `shown` is how messages call it: no password, no query."""

    url: URL

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read a URL such as sqlite:///paretoken.db; raises BadInput, never quoting a password."""
        try:
            text.encode()  # SQLite and PostgreSQL take names in UTF-8 only
            url = make_url(text)
        except (ArgumentError, ValueError) as error:
            said = "" if "@" in text else f", but got {short(text)!r}"
            raise BadInput(
                "a store is a URL such as sqlite:///paretoken.db or "
                f"postgresql://user@host/database{said}."
            ) from error
        if url.drivername not in _DRIVERS:
            raise BadInput(
                f"a store is on sqlite:// or postgresql://, not on {short(url.drivername)}://: "
                f"{_ELSEWHERE}."
            )
        address = cls(url.set(drivername=_DRIVERS[url.drivername]))
        if address.is_sqlite and url.database in (None, "", ":memory:"):
            raise BadInput(
                "a store in memory would be lost at the end: name a file, "
                "such as sqlite:///paretoken.db."
            )
        return address

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is one local file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path:
        """The file of an SQLite store."""
        return Path(self.url.database or "")

    @property
    def shown(self) -> str:
        """The URL without password and query, and not without end."""
        bare = self.url.set(drivername=self.url.get_backend_name(), query={})
        return short(bare.render_as_string(hide_password=True))

    def check_file(self, create: bool) -> None:
        """Raise Unreadable where the file or its folder cannot be what is asked for.

        The file is not opened: closing it would drop the locks that this process may hold on it.
        """
        try:
            if self.path.is_dir():
                raise Unreadable(f"{self.shown} is a folder, not a store: {_ELSEWHERE}.")
            if not self.path.parent.is_dir():
                raise Unreadable(
                    f"there is no folder {short(str(self.path.parent))!r} for {self.shown}: "
                    f"make it, or {_ELSEWHERE}."
                )
            if self.path.exists():
                if 0 < self.path.stat().st_size < _LEAST_BYTES:
                    raise self.unreadable(ValueError("the file is not a database"))
            elif not create:
                raise self.missing()
        except Unreadable:
            raise
        except (OSError, ValueError) as error:  # no permission; a name too long, or with a NUL
            raise self.unreadable(error) from error

    def check_length(self, stated: int) -> None:
        """Raise Unreadable where the file is shorter than SQLite says; call it in a transaction.

        SQLite itself would read a last page cut short as if the rest of it were zeros.
        """
        log = self.path.with_name(self.path.name + "-wal")
        # The log is looked at before the file: what is not in the one is in the other.
        has_log = log.exists() and log.stat().st_size > 0
        if not has_log and self.path.stat().st_size < stated:
            raise self.unreadable(ValueError("the database file is malformed: cut short"))

    def missing(self) -> Unreadable:
        """The error where a reader finds no store."""
        return Unreadable(f"there is no store at {self.shown} yet: search first, or {_ELSEWHERE}.")

    def unreadable(self, error: BaseException) -> Unreadable:
        """One line on what the database said, without secrets, and the way out."""
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        if isinstance(error, OSError):
            said = error.strerror or said  # without the path, whose words mean nothing below
        secrets = (self.url.password, *self.url.normalized_query.get("password", ()))
        for secret in filter(None, secrets):
            said = said.replace(secret, "***")
        ways = [way for words, way in _WAYS_OUT.items() if self.is_sqlite and words in said.lower()]
        way = [*ways, f"check that it is there and yours to use, or {_ELSEWHERE}."][0]
        return Unreadable(f"the store {self.shown} does not work ({said}): {way}")
