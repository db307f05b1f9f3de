"""Candidates by the beginning of their id."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from paretoken.cache.schema import CandidateRow, StudyRow, TrialRow
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.settings import Tree, loads

_LISTED = 5  # candidates named where a prefix fits several


def find_candidate(session: Session, prefix: str) -> tuple[str, Tree, list[tuple[str, int]]]:
    """The id, the settings and the trials (study, number) of the one candidate so begun."""
    if not re.fullmatch("[0-9a-f]{1,32}", prefix.lower()):
        raise BadValue(f"a candidate's id is hexadecimal digits, at most 32, not {prefix!r}.")
    first = prefix.lower()
    found = session.scalars(
        select(CandidateRow)
        .where(CandidateRow.id >= first, CandidateRow.id < first + "g")
        .order_by(CandidateRow.id)
        .limit(_LISTED + 1)
    ).all()
    if not found:
        raise BadInput(
            f"no candidate's id begins with {prefix!r}: `paretoken front` shows the ids."
        )
    if len(found) > 1:
        ids = ", ".join(row.id for row in found[:_LISTED])
        more = ", …" if len(found) > _LISTED else ""
        raise BadInput(f"several candidates begin with {prefix!r}: {ids}{more}.")
    (row,) = found
    trials = session.execute(
        select(StudyRow.name, TrialRow.number)
        .join(StudyRow, TrialRow.study_id == StudyRow.id)
        .where(TrialRow.candidate_id == row.id)
        .order_by(StudyRow.id, TrialRow.number)
    )
    return row.id, loads(row.json), [(name, number) for name, number in trials]
