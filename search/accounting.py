"""What a study asked for, and what of it the store could answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from paretoken.spaces.records import Disagreement, Trial


@dataclass(frozen=True)
class Account:
    """Counts over the trials of a study.

    proposals: trials. repeated: proposals whose canonical settings the study had before.
    quality_hits, speed_hits: answered by a law fingerprint, settings being new. transcript_hits:
    sampled, but judged before. saved: measurements not made, and the seconds they would have taken.
    disagreements: observations that their class does not explain by noise.
    """

    proposals: int
    repeated: int
    quality_hits: int
    speed_hits: int
    transcript_hits: int
    saved: int
    seconds_saved: float
    disagreements: int


def account(trials: Sequence[Trial], disagreements: Sequence[Disagreement]) -> Account:
    """The account of a study's finished trials."""
    origins = Counter((aspect, how) for trial in trials for aspect, how in trial.origin.items())
    answered = [
        (trial, aspect)
        for trial in trials
        for aspect, how in trial.origin.items()
        if how in ("canonical", "law")
    ]
    return Account(
        proposals=len(trials),
        repeated=len(trials) - len({trial.candidate_id for trial in trials}),
        quality_hits=origins["quality", "law"],
        speed_hits=origins["speed", "law"],
        transcript_hits=origins["quality", "transcript"],
        saved=len(answered),
        seconds_saved=sum(trial.seconds.get(aspect, 0.0) for trial, aspect in answered),
        disagreements=len(disagreements),
    )


def disagreed(one: Disagreement) -> str:
    """One disagreement in a line."""
    what = "a class of its own from here on" if one.split else "its own observations differ"
    return (
        f"disagreement: {one.candidate_id[:8]} has {one.name} {one.value:.4g} where "
        f"{one.expected:.4g} was known, {one.sigmas:.1f} standard deviations apart: {what}."
    )


def told(found: Account) -> str:
    """The account in two sentences."""
    return (
        f"{found.proposals} proposals: {found.repeated} with settings seen before, "
        f"{found.quality_hits} qualities and {found.speed_hits} speeds answered by equal "
        f"behaviour, {found.transcript_hits} judged before by equal tokens. {found.saved} "
        f"measurements saved, {found.seconds_saved:.0f} s; {found.disagreements} disagreements."
    )
