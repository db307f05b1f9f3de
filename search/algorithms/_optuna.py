"""What the Optuna algorithms share: a study in memory, and a chance that resumes.

Optuna only proposes; what was measured is kept by us, and given back to it when a study is resumed.
A new sampler is made for every proposal, seeded by the study's seed and the proposal's number:
this is what makes a resumed search go on as an uninterrupted one would.
"""

from __future__ import annotations

import optuna

from paretoken.search.algorithm import Algorithm


def new_study(objectives: int) -> optuna.Study:
    """An empty study that minimises so many objectives, made without a word."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it announces the study
    study = optuna.create_study(directions=["minimize"] * objectives)
    optuna.logging.set_verbosity(level)
    return study


def seed_of(algorithm: Algorithm, n: int) -> int:
    """The seed of the sampler of proposal n."""
    return algorithm.chance(n).getrandbits(32)  # as wide as NumPy's seeds are
