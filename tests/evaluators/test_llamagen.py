"""LlamaGen's transformer: sizes, the rotary rule, and a cache that gives what a full pass gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.llamagen import OVERHANG, Transformer, TransformerConfig
from paretoken.evaluators.models.rotary import rotary_table, rotate
from paretoken.spaces.errors import BadValue, UnknownName

SMALL = TransformerConfig(
    dim=32, layers=3, heads=2, vocabulary=40, height=3, width=4, classes=5, multiple_of=32
)
CPU = torch.device("cpu")
# The same sums in another order: fp32 noise is near 1e-6 at these sizes, fp64 noise near 1e-15.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}
BOTH = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def model_of(dtype: torch.dtype, seed: int = 0) -> Transformer:
    """A small model whose every weight matters (the official start has a zero output layer)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer(SMALL)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.to(dtype).eval().requires_grad_(False)


def target_of(dtype: torch.dtype) -> ImageTarget:
    return ImageTarget(model_of(dtype), CPU, dtype)


def batch_of(rows: int) -> tuple[Tensor, Tensor]:
    """Tokens [rows, N] and classes [rows], the last of them the null class."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(SMALL.vocabulary, (rows, SMALL.length), generator=generator)
    return tokens, torch.arange(SMALL.classes - rows + 1, SMALL.classes + 1)


def fed(tokens: Tensor, classes: Tensor) -> Tensor:
    """What a decoder feeds, by sequence position: the class token, then the tokens."""
    return torch.cat([SMALL.vocabulary + classes.unsqueeze(1), tokens], dim=1)


@pytest.mark.parametrize(
    ("name", "millions", "hidden"),
    [
        ("B", 110.9, 2048), ("L", 342.9, 2816), ("XL", 774.7, 3584), ("XXL", 1411, 4096),
        ("XXXL", 3893, 6912), ("1B", 1200, 5632), ("3B", 3097, 8704), ("7B", 6615, 11008),
    ],
)  # fmt: skip
def test_published_sizes_have_the_published_parameters(
    name: str, millions: float, hidden: int
) -> None:
    config = TransformerConfig.named(name)
    with torch.device("meta"):
        model = Transformer(config)
    counted = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert counted == pytest.approx(millions, abs=0.05 if millions < 1000 else 0.5)
    assert config.hidden == hidden


def test_a_checkpoint_has_the_official_keys_and_nothing_else() -> None:
    block = {
        f"layers.{i}.{part}.weight"
        for i in range(SMALL.layers)
        for part in (
            "attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2",
            "feed_forward.w3", "attention_norm", "ffn_norm",
        )
    }  # fmt: skip
    ends = {"cls_embedding.embedding_table", "tok_embeddings", "norm", "output"}
    state = Transformer(SMALL).state_dict()
    assert set(state) == block | {f"{end}.weight" for end in ends}
    assert state["cls_embedding.embedding_table.weight"].shape == (SMALL.classes + 1, SMALL.dim)
    assert state["layers.0.attention.wqkv.weight"].shape == (3 * SMALL.dim, SMALL.dim)


def test_unknown_sizes_and_impossible_heads_are_refused() -> None:
    with pytest.raises(UnknownName, match="XXL"):
        TransformerConfig.named("XXLL")
    with pytest.raises(BadValue, match="multiple of 4"):
        TransformerConfig(dim=30, heads=5)


def test_rotary_angles_are_the_official_ones() -> None:
    """As complex numbers, straight from the specification: pair m turns by angle m."""
    head_dim, height, width = 8, 3, 4
    x = torch.randn(
        height * width, head_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    table = rotary_table(height, width, 1 + height * width, head_dim, 10000.0)
    turned = rotate(x, table[1:])
    for token in range(height * width):
        row, column = divmod(token, width)
        frequencies = [10000.0 ** (-2 * j / (head_dim / 2)) for j in range(head_dim // 4)]
        angles = [row * f for f in frequencies] + [column * f for f in frequencies]
        for m, angle in enumerate(angles):
            pair = complex(x[token, 2 * m], x[token, 2 * m + 1])
            expected = pair * complex(torch.tensor(1j * angle, dtype=torch.complex128).exp())
            found = complex(turned[token, 2 * m], turned[token, 2 * m + 1])
            assert found == pytest.approx(expected, abs=1e-12)


def test_the_class_token_speaks_through_its_value_alone() -> None:
    """Its rotary row is zero, so replacing its query and key by anything changes no logit."""
    model = model_of(torch.float64)
    tokens, classes = batch_of(2)

    def replace(_: torch.nn.Module, inputs: tuple[Tensor, ...], projected: Tensor) -> Tensor:
        replaced = projected.clone()
        replaced[:, 0, : 2 * SMALL.dim] = 100.0
        return replaced

    def logits(replaced: bool) -> Tensor:
        wqkv = [block.attention.wqkv for block in model.layers]
        hooks = [layer.register_forward_hook(replace) for layer in wqkv if replaced]
        found: Tensor = model(tokens, classes)
        for hook in hooks:
            hook.remove()
        return found

    torch.testing.assert_close(logits(replaced=True), logits(replaced=False), rtol=0, atol=0)
    model.rotary[0, 0] = 1.0  # the identity, as other models have it: now it does matter
    assert (logits(replaced=True) - logits(replaced=False)).abs().max() > 1e-3


@BOTH
def test_half_precision_leaves_the_angles_alone(dtype: torch.dtype) -> None:
    model = model_of(dtype)
    exact = rotary_table(3, 4, SMALL.slots, 16, 10000.0)
    torch.testing.assert_close(
        model.bfloat16().rotary, exact.float(), rtol=0, atol=0, msg="float32 is the least"
    )
    torch.testing.assert_close(model.double().rotary, exact, rtol=0, atol=0)


@BOTH
@pytest.mark.parametrize("window", [1, 2, 5, 13])
def test_cached_windows_equal_a_full_forward(dtype: torch.dtype, window: int) -> None:
    target = target_of(dtype)
    tokens, classes = batch_of(3)
    full = target.model(tokens, classes)
    line, cache = fed(tokens, classes), target.allocate(3, guided=False)
    for start in range(0, SMALL.length, window):
        part = line[:, start : start + window]
        logits, none = target.forward(part, torch.full((3,), start), cache, guided=False)
        wanted = full[:, start : start + window]
        assert none is None
        torch.testing.assert_close(
            logits[:, : wanted.shape[1]], wanted, rtol=0, atol=TOLERANCE[dtype]
        )


@BOTH
def test_rows_at_their_own_positions_and_rolled_back_equal_a_full_forward(
    dtype: torch.dtype,
) -> None:
    """A walk as speculative decoding makes it: wrong drafts are fed, and positions move back."""
    target = target_of(dtype)
    rows, window = 4, 5
    tokens, classes = batch_of(rows)
    full = target.model(tokens, classes)
    line, cache = fed(tokens, classes), target.allocate(rows, guided=False)
    generator = torch.Generator().manual_seed(2)
    positions = torch.zeros(rows, dtype=torch.int64)
    compared = 0
    while bool((positions < SMALL.length).any()):
        good = torch.randint(1, window + 1, (rows,), generator=generator)
        part = torch.randint(SMALL.vocabulary, (rows, window), generator=generator)
        for row in range(rows):  # the first `good` tokens are right, the others are wrong drafts
            right = line[row, positions[row] : positions[row] + int(good[row])]
            part[row, : len(right)] = right
        logits, _ = target.forward(part, positions, cache, guided=False)
        for row in range(rows):
            start = int(positions[row])
            right = min(int(good[row]), SMALL.length - start)
            for i in range(right):
                torch.testing.assert_close(
                    logits[row, i], full[row, start + i], rtol=0, atol=TOLERANCE[dtype]
                )
                compared += 1
        positions = (positions + good).clamp(max=SMALL.length)
    assert compared == rows * SMALL.length


def test_a_window_may_overhang_the_end() -> None:
    """A finished row is fed beside others: its window lies past the end, in scratch slots."""
    target = target_of(torch.float64)
    tokens, classes = batch_of(2)
    line, cache = fed(tokens, classes), target.allocate(2, guided=False)
    target.forward(line, torch.zeros(2, dtype=torch.int64), cache, guided=False)
    drafts = torch.zeros(2, OVERHANG, dtype=torch.int64)
    drafts[:, 0] = line[:, 6]
    drafts[1, 0] = line[1, -1]
    logits, _ = target.forward(drafts, torch.tensor([6, SMALL.length]), cache, guided=False)
    torch.testing.assert_close(logits[0, 0], target.model(tokens, classes)[0, 6])
    assert logits.isfinite().all()


def test_reading_all_slots_or_only_those_in_use_is_the_same() -> None:
    model = model_of(torch.float64)
    tokens, classes = batch_of(2)
    line, start = fed(tokens, classes)[:, :4], torch.zeros(2, dtype=torch.int64)
    few = model.forward_window(line, start, model.allocate(2), key_length=4)
    everything = model.forward_window(line, start, model.allocate(2))
    torch.testing.assert_close(few, everything, rtol=0, atol=1e-12)


def test_a_guided_forward_gives_the_class_and_the_null_class() -> None:
    target = target_of(torch.float64)
    tokens, classes = batch_of(3)
    line = fed(tokens, classes)[:, :-1]
    start = torch.zeros(3, dtype=torch.int64)
    conditional, unconditional = target.forward(line, start, target.allocate(3, True), guided=True)
    assert unconditional is not None
    null = torch.full_like(classes, SMALL.classes)
    torch.testing.assert_close(conditional, target.model(tokens, classes), rtol=0, atol=1e-12)
    torch.testing.assert_close(unconditional, target.model(tokens, null), rtol=0, atol=1e-12)
    # Scale 1 is the unguided path, and where the class is the null class no scale has an effect.
    unguided, _ = target.forward(line, start, target.allocate(3, False), guided=False)
    torch.testing.assert_close(conditional, unguided, rtol=0, atol=1e-12)
    torch.testing.assert_close(conditional[-1], unconditional[-1], rtol=0, atol=1e-12)
    assert (conditional[0] - unconditional[0]).abs().max() > 1e-3


def test_guidance_may_end_in_the_middle_of_a_sample() -> None:
    """Then only the conditional half is fed, in the same cache."""
    target = target_of(torch.float64)
    tokens, classes = batch_of(2)
    line, cache = fed(tokens, classes), target.allocate(2, guided=True)
    target.forward(line[:, :5], torch.zeros(2, dtype=torch.int64), cache, guided=True)
    logits, none = target.forward(line[:, 5:8], torch.full((2,), 5), cache, guided=False)
    assert none is None
    torch.testing.assert_close(logits, target.model(tokens, classes)[:, 5:8], rtol=0, atol=1e-12)


def test_permuting_the_batch_permutes_the_laws() -> None:
    target = target_of(torch.float64)
    tokens, classes = batch_of(4)
    order = torch.tensor([2, 0, 3, 1])
    line, start = fed(tokens, classes), torch.tensor([0, 0, 0, 0])
    straight, _ = target.forward(line, start, target.allocate(4, False), guided=False)
    permuted, _ = target.forward(line[order], start, target.allocate(4, False), guided=False)
    torch.testing.assert_close(permuted, straight[order], rtol=0, atol=1e-12)


def test_a_law_depends_on_nothing_after_it() -> None:
    model = model_of(torch.float64)
    tokens, classes = batch_of(2)
    changed = tokens.clone()
    changed[:, 5] = (changed[:, 5] + 1) % SMALL.vocabulary
    before, after = model(tokens, classes), model(changed, classes)
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=0, atol=1e-12)
    assert (before[:, 6:] - after[:, 6:]).abs().amax((0, 2)).min() > 1e-6


def test_targets_of_several_types_leave_the_model_as_it_is() -> None:
    model = model_of(torch.float64)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    half = ImageTarget(model, CPU, torch.bfloat16)
    assert half.model.output.weight.dtype is torch.bfloat16
    cache, zero = half.allocate(1, False), torch.zeros(1).long()
    logits, _ = half.forward(half.begin(zero, zero, cache).unsqueeze(1), zero, cache, guided=False)
    assert logits.dtype is torch.float32
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_class_dropout_acts_in_training_only() -> None:
    model = model_of(torch.float64)
    classes = torch.zeros(200, dtype=torch.int64)
    null = model.cls_embedding.embedding_table.weight[SMALL.classes]
    assert not (model.condition(classes)[:, 0] == null).all(-1).any()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dropped = (model.train().condition(classes)[:, 0] == null).all(-1).float().mean()
    assert 0.03 < float(dropped) < 0.2  # 0.1 of 200: three standard errors are 0.064
