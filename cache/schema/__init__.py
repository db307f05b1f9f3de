"""The store's tables: what was asked, what was proposed, and every observation ever made.

    studies 1─* trials *─1 candidates 1─* fingerprints
       │          │ 1─* failures   1─* measurements 1─* quantities
       1─* exports│ 1─* rungs            * *─1 environments
                  *──── classes 1────────┘
                           1─* means

Measurements are append-only and belong to a candidate, not to a trial. Those of equal behaviour are
observations of one class; `means` keeps its statistics up to date, and a trial's numbers are the
means of its two classes; at each of its `rungs` it has one more, of qualities by few samples.
`points`, `fronts` and `numbers`, by study, follow from all these.

A change needs a new file in `migrations/versions` and the next `REVISION`.
"""

from paretoken.cache.schema.asked import (
    CandidateRow,
    ExportRow,
    FailureRow,
    RungRow,
    StudyRow,
    TrialRow,
)
from paretoken.cache.schema.observed import (
    ClassRow,
    DisagreementRow,
    EnvironmentRow,
    MeanRow,
    MeasurementRow,
    QuantityRow,
)
from paretoken.cache.schema.placed import SLOTS, FrontRow, NumberRow, PointRow
from paretoken.cache.schema.row import REVISION, VERSION_TABLE, Row
from paretoken.cache.schema.working import FingerprintRow, RecordingRow, WorkRow

__all__ = [
    "REVISION",
    "SLOTS",
    "VERSION_TABLE",
    "CandidateRow",
    "ClassRow",
    "DisagreementRow",
    "EnvironmentRow",
    "ExportRow",
    "FailureRow",
    "FingerprintRow",
    "FrontRow",
    "MeanRow",
    "MeasurementRow",
    "NumberRow",
    "PointRow",
    "QuantityRow",
    "RecordingRow",
    "Row",
    "RungRow",
    "StudyRow",
    "TrialRow",
    "WorkRow",
]
