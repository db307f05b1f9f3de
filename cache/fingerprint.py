"""Fingerprints: keys under which a measurement may be used again, at three levels.

    canonical    the settings, after equal writings were merged: `digest.candidate_id`
    law          before anything is generated: floats of the output law on recorded rows
    transcript   after generating: the tokens that were emitted, and the rounds it took

The first two answer before any work is done; the third saves judging what was generated, and
audits the second. Evaluators hand in arrays and records: nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from paretoken.cache.digest import VERSION, digest, stable_json
from paretoken.spaces.errors import BadValue
from paretoken.spaces.records import Fingerprint

if TYPE_CHECKING:
    from paretoken.spaces.workload import Behaviour

# Laws and acceptance probabilities are told apart from a millionth on: coarser than any rounding of
# float64 by a billion, finer than what 10^5 samples could show.
CELL = 2.0**-20
GRIDS = (0.0, 0.5)


def fingerprint(behaviour: Behaviour, recording: bytes) -> Fingerprint:
    """What a candidate does, from the floats that an evaluator computed on recorded rows.

    A lossless candidate's output law is the target's, whatever drafts it makes, so `quality` rests
    on the target's laws alone. A lossy one's depends on how it drafts and on its rule as well: the
    rule of groups of 16 is plain decoding at window 1, and far from it at window 16. The work rests
    on all of it, losslessly or not, and on the runtime.
    """
    context = digest("context", stable_json(behaviour.context), recording)
    drafting = stable_json(behaviour.drafting)
    target, rule = on_grids(behaviour.target), on_grids(behaviour.rule)
    runtime = stable_json(behaviour.runtime)
    law, work = [], []
    for grid in range(len(GRIDS)):
        whole = digest("law", context, target[grid], drafting, rule[grid])
        law.append(digest("law", context, target[grid]) if behaviour.lossless else whole)
        work.append(digest("work", whole, runtime))
    return Fingerprint(context, (law[0], law[1]), (work[0], work[1]), behaviour.evidence)


def quality_key(law: str, conditions: Any) -> str:
    """What a quality value is reusable for: an output law judged under the same conditions.

    law: the name of its class (`Keys.quality`). conditions: metric, extractor version, reference
    digest, number of samples, and the like.
    """
    return digest("quality", law, stable_json(conditions))


def cost_key(law: str, trace: str, runtime: Any) -> str:
    """What a speed is reusable for, on one device kind and software: the same work, run alike."""
    return digest("cost", law, trace, stable_json(runtime))


def on_grids(arrays: Iterable[NDArray[np.floating[Any]]]) -> tuple[str, str]:
    """Digests of floats on two grids of cells 2^-20 wide, one moved by half a cell.

    Rounding moves a number across the edge of a cell only if it lies within rounding of that edge,
    and then it lies in the middle of a cell of the other grid: of two runs of one computation, one
    digest at least is equal. Shapes count; zero has no sign. Raises BadValue where a value is not
    finite.
    """
    states = [xxhash.xxh3_128(VERSION) for _ in GRIDS]
    for array in arrays:
        if not np.isfinite(array).all():
            raise BadValue("a fingerprint cannot contain NaN or infinity: nothing is equal to it.")
        for state, offset in zip(states, GRIDS, strict=True):
            state.update(str(array.shape).encode())
            cells = np.floor(array.astype(np.float64) / CELL + offset)
            state.update(cells.astype("<i8").tobytes())
    return states[0].hexdigest(), states[1].hexdigest()


def transcript(*arrays: NDArray[np.integer[Any]], of: Any = "") -> str:
    """The digest of what was emitted, or of the rounds it took: integers, hashed exactly.

    of: what they only mean something together with: the law's conditions, the seed.
    """
    parts = [f"{array.shape} {stable_json(of)}" for array in arrays]
    data = [array.astype("<i8").tobytes() for array in arrays]
    return digest("transcript", *(part for pair in zip(parts, data, strict=True) for part in pair))
