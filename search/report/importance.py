"""Which settings matter: PED-ANOVA, by Optuna's public interface.

The importance of a setting says how far the best tenth of the candidates differs from all of them
in that setting (a Pearson divergence): it is high where the good ones share a value.
Watanabe, Bansal and Hutter 2023, arXiv:2304.10255; for settings that not all candidates have,
conditional PED-ANOVA, 2026, arXiv:2601.20800.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paretoken.search.report.knobs import short
from paretoken.search.report.results import Results
from paretoken.search.report.wording import heading

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 10  # candidates: below, the best ones are too few to tell anything
_BEST = 0.1  # the share that is compared with all; but at least so many candidates:
_AT_LEAST = 5
_NO_MATTER = 0.005  # of 1: not shown
_MOST_ASKED = 2000  # candidates, evenly taken: more cost seconds and change nothing visible


@dataclass(frozen=True)
class Importances:
    """aims: what it takes to be good at. shares: by setting, one for each aim, whose sum is 1; the
    setting that matters most first. candidates: how many were asked."""

    aims: tuple[str, ...]
    shares: tuple[tuple[str, tuple[float, ...]], ...]
    candidates: int


def importances(results: Results) -> Importances | None:
    """The importance of each setting that varies, for each objective, and for the front.

    None with fewer than FEWEST candidates, and where no setting varies.
    """
    objectives = results.objectives
    have = [t for t in results.done if all(o.name in t.quantities for o in objectives)]
    asked = have[:: -(-len(have) // _MOST_ASKED)] if have else []
    if len(asked) < FEWEST:
        return None
    import optuna

    from paretoken.search import optuna_trials

    space = optuna_trials.distributions(asked)
    if not space:
        return None
    then = datetime.now(UTC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small regimes: the page says how many there are
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study(directions=optuna_trials.directions(objectives))
            study.add_trials(
                optuna_trials.frozen(trial, space, objectives, number=number, ended=then)
                for number, trial in enumerate(asked)
            )
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(
                target_quantile=max(_BEST, _AT_LEAST / len(asked))
            )

            def share(target: Callable[[FrozenTrial], float] | None) -> dict[str, float]:
                found: dict[str, float] = optuna.importance.get_param_importances(
                    study, evaluator=evaluator, target=target
                )
                return found

            def aim(place: int, sign: float) -> Callable[[FrozenTrial], float]:
                return lambda trial: sign * trial.values[place]

            found = {
                heading(objective.name): share(aim(place, -1.0 if objective.higher else 1.0))
                for place, objective in enumerate(objectives)
            }
            if len(objectives) > 1:
                found["the front"] = share(None)
        finally:
            optuna.logging.set_verbosity(verbosity)
    names = short(list(space))
    shares = [
        (names[path], tuple(found[name].get(path, 0.0) for name in found)) for path in sorted(space)
    ]
    shares = [(path, each) for path, each in shares if max(each) >= _NO_MATTER]
    shares.sort(key=lambda share: -sum(share[1]))
    return Importances(tuple(found), tuple(shares), len(asked))
