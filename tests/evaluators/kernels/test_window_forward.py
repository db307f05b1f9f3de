"""The fused forward against the transformer's own, in float32.

Sums of at most 80 products are taken in another order and the residual stream is the same: the
relative error of the logits is some units of 2^-24 = 6e-8 times the root of the depth; 2e-6 of the
largest logit holds for these sizes with room, and a wrong mask or place shows at once.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig

TOLERANCE = 2e-6

# Heads of a power of two and not; dims that are whole blocks and not; V likewise.
SIZES = {
    "even": TransformerConfig(64, 2, 4, 64, 4, 4, classes=3, multiple_of=16),
    "odd": TransformerConfig(80, 1, 4, 33, 3, 4, classes=3, multiple_of=8),
}


def model(name: str, device: torch.device) -> Transformer:
    torch.manual_seed(0)
    made = Transformer(SIZES[name])
    made.initialise()
    torch.nn.init.normal_(made.output.weight, std=0.3)
    return made.eval().requires_grad_(False).to(device)


def both(
    made: Transformer, tokens: Tensor, positions: Tensor, caches: tuple, fused_too: bool = True
) -> tuple[Tensor, Tensor]:
    from paretoken.evaluators.kernels.window import forward_window

    reference = made.reference_window(tokens, positions, caches[0])
    return reference, forward_window(made, tokens, positions, caches[1])


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("rows", "window"), [(1, 1), (3, 5), (2, 18)])
def test_the_logits_are_those_of_the_transformer(
    name: str, rows: int, window: int, device: torch.device
) -> None:
    made = model(name, device)
    config = made.config
    caches = made.allocate(rows + 1), made.allocate(rows + 1)  # a row more than is used
    positions = torch.zeros(rows, dtype=torch.int64, device=device)
    generator = torch.Generator().manual_seed(rows)
    for step in range(2):
        tokens = torch.randint(config.vocabulary, (rows, window), generator=generator).to(device)
        if step == 0:
            tokens[:, 0] = config.vocabulary + 1  # the class token
        reference, found = both(made, tokens, positions, caches)
        assert found.shape == reference.shape
        assert (found - reference).abs().max() <= TOLERANCE * reference.abs().max()
        # Rows go on at places of their own; what lay beyond them is overwritten.
        positions = positions + torch.arange(1, rows + 1, device=device).clamp(max=window)


def test_what_lies_beyond_a_row_is_not_read(device: torch.device) -> None:
    made = model("even", device)
    caches = made.allocate(2), made.allocate(2)
    tokens = torch.randint(64, (2, 4), generator=torch.Generator().manual_seed(1)).to(device)
    positions = torch.tensor([0, 3], device=device)
    both(made, tokens, torch.zeros_like(positions), caches)
    for cache in caches:
        cache.layers[..., 7:, :] = 1e4
        cache.layers[:, :, 0, :, 4:] = 1e4
    reference, found = both(made, tokens, positions, caches)
    assert (found - reference).abs().max() <= TOLERANCE * reference.abs().max()
    assert found.abs().max() < 1e3


def test_layers_are_left_out_for_all_rows_or_for_some_places(device: torch.device) -> None:
    made = model("even", device)
    caches = made.allocate(2), made.allocate(2)
    tokens = torch.randint(64, (2, 3), generator=torch.Generator().manual_seed(1)).to(device)
    positions = torch.zeros(2, dtype=torch.int64, device=device)
    places = torch.tensor([[True, True, False], [True, False, False]], device=device)
    from paretoken.evaluators.kernels.window import forward_window

    plain = made.reference_window(tokens, positions, made.allocate(2))
    for chosen in ([True, False], [False, True], [True, places.unsqueeze(-1)]):
        reference = made.reference_window(tokens, positions, caches[0], chosen=chosen)
        found = forward_window(made, tokens, positions, caches[1], chosen)
        assert (found - reference).abs().max() <= TOLERANCE * reference.abs().max()
        assert (found - plain).abs().max() > 1e-2 * plain.abs().max()
    # Where a layer runs for a token and all before it, it is as in the whole model.
    kept = (reference - plain).abs().amax(-1) <= TOLERANCE * plain.abs().max()
    assert torch.equal(kept, places)
