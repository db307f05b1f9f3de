"""The options of a workload whose depths learn, which are the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretoken.evaluators.cache_folder import cache_folder
from paretoken.evaluators.shortening.teaching import Sizes
from paretoken.evaluators.training.sizes import sized


def learning(given: dict[str, Any], usual: Mapping[str, int]) -> tuple[Path, Sizes, dict[str, int]]:
    """Where what is learnt is kept, how much is learnt, and all sizes by name.

    Takes its options out of those given: what is left there nobody knows. Raises BadValue.
    """
    folder = given.pop("artefacts", None)
    size = sized(usual, {name: given.pop(name, None) for name in usual})
    place = Path(str(folder)).expanduser() if folder else cache_folder("artefacts")
    sizes = Sizes(
        size["lessons"], size["steps"], size["lesson_batch"], size["calibration"], size["trials"]
    )
    return place, sizes, size
