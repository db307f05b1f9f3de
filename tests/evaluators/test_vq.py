"""LlamaGen's image tokenizer: official keys, a codebook on the sphere, pixels there and back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.models.vq import Downsample, Tokenizer, TokenizerConfig, to_uint8
from paretoken.evaluators.workloads.fashion.data import pixels

SMALL = TokenizerConfig(
    image_channels=1, channels=32, multipliers=(1, 1), blocks=1, z_channels=32, codebook=64
)


def tokenizer_of(config: TokenizerConfig = SMALL) -> Tokenizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tokenizer(config).eval().requires_grad_(False)


def pictures(count: int, seed: int = 0) -> Tensor:
    """Smooth waves [count, 1, 8, 8] in [-1, 1]: a small world that 64 codes can describe."""
    generator = torch.Generator().manual_seed(seed)
    phase = 6.3 * torch.rand(count, 1, 1, 1, generator=generator)
    slope = 2 * torch.rand(count, 2, 1, 1, generator=generator) - 1
    grid = torch.arange(8.0)
    return torch.sin(phase + slope[:, :1] * grid.view(1, 1, -1, 1) + slope[:, 1:] * grid)


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    """A few seconds of training, so that tokens mean something."""
    model = tokenizer_of().train().requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(60):
        images = pictures(16, seed=step)
        z = model.directions(images)
        rows = model.quantize.rows()
        codes = rows[model.quantize.nearest(z)]
        again = model.reconstruct(z + (codes - z).detach())
        loss = functional.mse_loss(again, images) + functional.mse_loss(codes, z.detach())
        loss = loss + SMALL.commitment * functional.mse_loss(z, codes.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def official_keys(levels: int, blocks: int) -> set[str]:
    """The names in vq_ds16_c2i.pt without those of channel-changing shortcuts."""

    def layers(prefix: str, *names: str) -> set[str]:
        return {f"{prefix}.{name}.{end}" for name in names for end in ("weight", "bias")}

    def residual(prefix: str) -> set[str]:
        return layers(prefix, "norm1", "conv1", "norm2", "conv2")

    def attention(prefix: str) -> set[str]:
        return layers(prefix, "norm", "q", "k", "v", "proj_out")

    keys = {"quantize.embedding.weight", "quantize.codebook_used"}
    keys |= {
        f"{name}.{end}" for name in ("quant_conv", "post_quant_conv") for end in ("weight", "bias")
    }
    for half, count, lowest in (("encoder", blocks, levels - 1), ("decoder", blocks + 1, 0)):
        keys |= layers(half, "conv_in", "norm_out", "conv_out")
        keys |= residual(f"{half}.mid.0") | attention(f"{half}.mid.1") | residual(f"{half}.mid.2")
        for i in range(levels):
            level = f"{half}.conv_blocks.{i}"
            for j in range(count):
                keys |= residual(f"{level}.res.{j}")
                if i == lowest:
                    keys |= attention(f"{level}.attn.{j}")
            if i < levels - 1:
                keys |= layers(level, "downsample.conv" if half == "encoder" else "upsample.conv")
    return keys


def test_vq16_has_the_official_keys_and_size() -> None:
    with torch.device("meta"):
        model = Tokenizer(TokenizerConfig())
    state = model.state_dict()
    shortcuts = {key for key in state if "nin_shortcut" in key}
    assert set(state) - shortcuts == official_keys(levels=5, blocks=2)
    # Wherever the width changes between two levels, and nowhere else.
    assert {key.rpartition(".")[0] for key in shortcuts} == {
        "encoder.conv_blocks.2.res.0.nin_shortcut",
        "encoder.conv_blocks.4.res.0.nin_shortcut",
        "decoder.conv_blocks.1.res.0.nin_shortcut",
        "decoder.conv_blocks.3.res.0.nin_shortcut",
    }
    assert state["quantize.embedding.weight"].shape == (16384, 8)
    assert state["quantize.codebook_used"].shape == (65536,)
    counted = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert counted == pytest.approx(72, abs=0.5)
    assert model.config.stride == 16


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 6)])
def test_shapes_there_and_back(height: int, width: int) -> None:
    model = tokenizer_of()
    images = torch.zeros(3, 1, 2 * height, 2 * width)
    tokens = model.encode(images)
    assert tokens.shape == (3, height * width) and tokens.dtype is torch.int64
    assert model.decode(tokens, height, width).shape == images.shape


def test_the_nearest_code_is_the_nearest_on_the_sphere() -> None:
    model = tokenizer_of()
    z = model.directions(pictures(4))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(z.shape[:-1]))
    rows = functional.normalize(model.quantize.embedding.weight.double(), dim=-1)
    by_distance = torch.cdist(z.double().flatten(0, 2), rows).argmin(-1)
    assert torch.equal(model.encode(pictures(4)).flatten(), by_distance)


def test_half_precision_around_it_does_not_move_a_code() -> None:
    model = tokenizer_of()
    z = model.directions(pictures(16))
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.quantize.nearest(z)
    assert torch.equal(inside, model.quantize.nearest(z))


def test_the_length_of_codebook_rows_changes_nothing(trained: Tokenizer) -> None:
    images = pictures(8)
    tokens = trained.encode(images)
    decoded = trained.decode(tokens, 4, 4)
    weight = trained.quantize.embedding.weight
    weight.mul_(3.0)
    try:
        assert torch.equal(trained.encode(images), tokens)
        torch.testing.assert_close(trained.decode(tokens, 4, 4), decoded, rtol=0, atol=1e-5)
    finally:
        weight.div_(3.0)


def test_tokens_survive_decoding_and_encoding_again(trained: Tokenizer) -> None:
    images = pictures(64, seed=1000)
    tokens = trained.encode(images)
    assert len(tokens.unique()) >= 8  # otherwise the agreement below would be empty
    again = trained.encode(trained.decode(tokens, 4, 4))
    assert float((tokens == again).float().mean()) > 0.5  # 0.72 here; chance is below 0.2
    error = functional.mse_loss(trained.decode(tokens, 4, 4), images)
    assert float(error) < 0.5 * float(images.var())


def test_downsampling_pads_right_and_bottom_only() -> None:
    layer = Downsample(1).requires_grad_(False)
    layer.conv.weight.zero_()
    layer.conv.bias.zero_()  # type: ignore[union-attr]
    layer.conv.weight[0, 0, 0, 0] = 1.0  # the upper left tap then reads every second pixel
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(layer(image), image[:, :, ::2, ::2])


def test_pixels_truncate_as_officially_and_come_back_unchanged() -> None:
    values = torch.tensor([-3.0, -1.0, -0.9962, 0.0, 0.0078, 0.99, 1.0, 3.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 128, 128, 254, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(pixels(every)), every)


def test_a_list_out_of_json_makes_the_same_configuration() -> None:
    listed = TokenizerConfig(multipliers=[1, 2])  # type: ignore[arg-type]
    assert listed == TokenizerConfig(multipliers=(1, 2)) and hash(listed)
