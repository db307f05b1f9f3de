"""Train the image tokenizer: autoencoder and codebook first, then the decoder alone.

While the codebook forms, codes that no vector chose for a while are re-seeded with vectors of the
batch. How long it forms decides how much detail the tokens carry, and so how hard they are to
predict: after 400, 900, 1,800 and 4,900 steps of it, a transformer trained for 20 seconds reached
1.19, 1.55, 1.99 and 2.53 nats per token. From then on encoder and codebook stand still, and the
decoder gets sharper at no such cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.metrics.psnr import psnr
from paretoken.evaluators.models.vq import Tokenizer, TokenizerConfig, to_uint8
from paretoken.evaluators.resumable import Average, Run, cosine, restore, snapshot
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.evaluators.workloads.fashion.views import VIEWS, seen

CONFIG = TokenizerConfig(
    image_channels=1, channels=64, multipliers=(1, 2), z_channels=128, codebook=1024, code_dim=8
)
PEAK_RATE = 1.2e-3
_RESEED_EVERY = 100
_RESEED_UNTIL = 0.33  # of all steps: later the average would keep half-learnt codes
_FREEZE_AT = 0.41  # 1,804 of 4,400 steps
_OTHER_VIEWS = 0.3  # share of pictures shown moved or mirrored


def train(
    images: Tensor, steps: int, batch: int, seed: int, run: Run, say: Callable[[str], None]
) -> Tokenizer:
    """Train on images [n, 1, 32, 32] uint8, which lie on the device to train on.

    Returns the averaged model with weights rounded to bfloat16, as they will be shipped.
    """
    device = images.device
    torch.manual_seed(seed)
    model = Tokenizer(CONFIG).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), PEAK_RATE, betas=(0.9, 0.95), weight_decay=1e-4,
        fused=device.type == "cuda",
    )  # fmt: skip
    average = Average(model, 0.999)
    first = 0
    unused = torch.ones(CONFIG.codebook, dtype=torch.bool, device=device)
    if "tokenizer" in run.state:
        saved = run.state["tokenizer"]
        restore(saved, model, optimizer, average)
        first, unused = saved["step"], saved["unused"].to(device)
    freeze = int(_FREEZE_AT * steps)
    if first > freeze:
        _freeze(model)
    begun = time.monotonic()
    for step in range(first, steps):
        if run.due():
            run.state["tokenizer"] = {
                "step": step, "unused": unused, **snapshot(model, optimizer, average)
            }  # fmt: skip
            run.pause()
        if step == freeze:
            average.adopt()  # the averaged encoder and codebook are the ones that stay
            _freeze(model)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * cosine(step, steps, warm_up=min(300, steps))
        picked = torch.randint(len(images), (batch,), device=device)
        shown = images[picked]
        if torch.rand(()) < _OTHER_VIEWS:
            shown = seen(shown, int(torch.randint(len(VIEWS), ())))
        target = pixels(shown).contiguous(memory_format=torch.channels_last)
        loss, reconstruction, z, ids = _loss(model, target)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        unused[ids] = False
        if (step + 1) % _RESEED_EVERY == 0 and step < _RESEED_UNTIL * steps:
            _reseed(model, average, unused, z)
            unused.fill_(True)
        if (step + 1) % max(1, steps // 20) == 0:
            rate = (step + 1 - first) / (time.monotonic() - begun)
            say(
                f"tokenizer {step + 1}/{steps}  L1 {float(reconstruction.detach()):.4f}  "
                f"{rate:.1f} steps/s  {(steps - step - 1) / rate:.0f} s left"
            )
    average.swap()
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())
    model.eval()
    return model


def _loss(model: Tokenizer, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, its L1 part, the unit vectors [n, code_dim] and the codes [n] they chose."""
    with torch.autocast(target.device.type, torch.bfloat16, enabled=target.is_cuda):
        z = model.directions(target)
        rows = model.quantize.rows()
        with torch.autocast(target.device.type, enabled=False):
            ids = (z.float() @ rows.T).argmax(-1)
        codes = rows[ids]
        passed = z + (codes - z).detach()  # straight-through
        image = model.reconstruct(passed).float()
    error = image - target
    l1 = error.abs().mean()
    codebook = functional.mse_loss(codes, z.detach())
    commitment = functional.mse_loss(z, codes.detach())
    loss = l1 + error.square().mean() + codebook + model.config.commitment * commitment
    return loss, l1, z.detach().flatten(0, 2), ids.flatten()


def _freeze(model: Tokenizer) -> None:
    for part in (model.encoder, model.quant_conv, model.quantize):
        part.requires_grad_(False)
        for parameter in part.parameters():
            parameter.grad = None


@torch.no_grad()
def _reseed(model: Tokenizer, average: Average, unused: Tensor, z: Tensor) -> None:
    """Give unused codes vectors of the batch, without asking the device how many there are."""
    table = model.quantize.embedding.weight
    chosen = z[torch.randint(len(z), (len(table),), device=z.device)]
    table.copy_(torch.where(unused.unsqueeze(1), chosen.to(table.dtype), table))
    for parameter, value in zip(model.parameters(), average.values, strict=True):
        if parameter is table:
            value.copy_(torch.where(unused.unsqueeze(1), table, value))


@torch.inference_mode()
def reconstruction_figures(model: Tokenizer, images: Tensor, batch: int = 500) -> dict[str, float]:
    """PSNR in dB (mean over images, on 8-bit pixels) and the share of codes in use, in float32."""
    again, used = [], torch.zeros(CONFIG.codebook, dtype=torch.bool, device=images.device)
    for part in torch.split(images, batch):
        tokens = model.encode(pixels(part))
        used[tokens.flatten()] = True
        side = part.shape[-1] // CONFIG.stride
        again.append(to_uint8(model.decode(tokens, side, side)))
    found = psnr(images, torch.cat(again))
    return {"psnr_db": found.value, "codes_used": float(used.float().mean())}
