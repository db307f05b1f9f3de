"""Time as the store writes it: text of one fixed format, which sorts by time."""

from __future__ import annotations

from datetime import UTC, datetime


def utc() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """A moment (with its time zone) in UTC: ISO 8601 with microseconds, 32 characters."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(stamped: str) -> datetime:
    """The moment of a stamp."""
    return datetime.fromisoformat(stamped)


def now() -> str:
    """The present moment as text."""
    return stamp(utc())
