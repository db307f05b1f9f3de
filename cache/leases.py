"""Leases: who does a piece of work, so that nobody else does it at the same time.

Each is one statement, so it is atomic on both databases. Drivers on several machines need clocks
that agree to much less than a lease is long.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import and_, case, or_, select, update
from sqlalchemy.orm import Session

from paretoken.cache.bulk import upsert
from paretoken.cache.clock import stamp
from paretoken.cache.schema import WorkRow
from paretoken.spaces.errors import BadValue

Clock = Callable[[], datetime]


def take(session: Session, key: str, owner: str, seconds: float, clock: Clock) -> bool:
    """Whether `owner` now has the work: it was free, had failed, its lease ran out, or is its own.

    Never once it is done. A live lease of one's own is extended.
    """
    at = clock()
    adding = upsert(session, WorkRow).values(
        key=key,
        state="leased",
        owner=owner,
        expires=_end(at, seconds),
        attempts=1,
        created=stamp(at),
    )
    own_and_live = and_(
        WorkRow.state == "leased", WorkRow.owner == owner, WorkRow.expires > stamp(at)
    )
    free = or_(
        WorkRow.state == "failed", and_(WorkRow.state == "leased", WorkRow.expires <= stamp(at))
    )
    taking = adding.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "state": "leased",
            "owner": owner,
            "expires": _end(at, seconds),
            "attempts": WorkRow.attempts + case((own_and_live, 0), else_=1),
        },
        where=or_(own_and_live, free),
    ).returning(WorkRow.id)
    return session.connection().execute(taking).first() is not None


def holder(session: Session, key: str) -> str | None:
    """Who was granted the work last, None where it is not leased."""
    held = WorkRow.key == key, WorkRow.state == "leased"
    return session.scalar(select(WorkRow.owner).where(*held))


def extend(session: Session, owner: str, seconds: float, clock: Clock) -> int:
    """Let every live lease of `owner` end `seconds` from now; returns how many there are."""
    at = clock()
    extending = (
        update(WorkRow)
        .where(WorkRow.owner == owner, WorkRow.state == "leased", WorkRow.expires > stamp(at))
        .values(expires=_end(at, seconds))
    )
    return session.connection().execute(extending).rowcount


def settle(session: Session, key: str, owner: str, state: str) -> None:
    """End the lease of `owner`; one that somebody else has taken over since is left as it is."""
    if state not in ("done", "failed"):
        raise BadValue(f"work ends as done or failed, not as {state!r}.")
    session.connection().execute(
        update(WorkRow)
        .where(WorkRow.key == key, WorkRow.owner == owner, WorkRow.state == "leased")
        .values(state=state)
    )


def _end(start: datetime, seconds: float) -> str:
    if not seconds > 0:
        raise BadValue(f"a lease lasts more than 0 seconds; it cannot last {seconds}.")
    return stamp(start + timedelta(seconds=seconds))
