"""What trainings of one tokenizer say together: quantities with units, spreads and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paretoken.evaluators.timing import mean_and_error
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

CALLS = Objective(
    "sequential_calls", "calls", False, "Calls of model and decoder, one after the other, an image."
)
RFID = Objective(
    "rfid", "squared feature units", False, "Frechet distance of reconstructions to originals."
)
BITS = Objective(
    "bits", "bits/image", False, "Of an image's tokens, under the best model there is."
)
GFID = Objective(
    "gfid", "squared feature units", False, "Frechet distance of generated images to real ones."
)
_UNITS = {
    "h0_bits": BITS.unit, "nll_bits": BITS.unit, "raw_bits": BITS.unit, "bits": BITS.unit,
    "rfid": RFID.unit, "gfid": GFID.unit, "paired_distance": RFID.unit, "psnr": "dB",
    "tokens": "tokens/image", "usage": "fraction", "perplexity": "entries",
}  # fmt: skip
_SHARE = "fraction"  # what only some families know of is a share
_HIGHER = frozenset({"usage", "perplexity", "psnr"})
_BY_EXTRACTOR = frozenset({"rfid", "gfid", "paired_distance"})


@dataclass(frozen=True)
class Conditions:
    """images: that reconstructions are judged by; generated: that are, 0 for none. extractor: its
    identity."""

    images: int
    generated: int
    extractor: str


def quantities(
    runs: Sequence[Mapping[str, float]], spreads: Sequence[Mapping[str, float]], under: Conditions
) -> tuple[Quantity, ...]:
    """Of numbers by name, one mapping for each training; spreads: over images, of some of them."""
    return tuple(_quantity(name, runs, spreads, under) for name in runs[0])


def _quantity(
    name: str,
    runs: Sequence[Mapping[str, float]],
    spreads: Sequence[Mapping[str, float]],
    under: Conditions,
) -> Quantity:
    values = [run[name] for run in runs]
    if len(values) > 1:
        value, spread = mean_and_error(values)
        source = f"standard error over {len(values)} seeds"
    else:
        (value,) = values
        spread, source = spreads[0].get(name, 0.0), "over images of one training"
        if name not in spreads[0]:
            source = "none: exact for these images, and one training has none"
    images = under.generated if name == "gfid" else under.images
    comparable = f"{len(values)} trainings, {images} images"
    if name == "bits" and under.generated:
        comparable += ", by a model"
    elif name in ("bits", "h0_bits"):
        comparable += ", order 0, coded for what is trained on"
    if name in _BY_EXTRACTOR:
        comparable += f", {under.extractor}"
    return Quantity(
        name, value, spread, len(values) * images, _UNITS.get(name, _SHARE), name in _HIGHER,
        comparable, {"spread_from": source, "images": images},
    )  # fmt: skip
