"""What research scripts for images have in common: LlamaGen's law, and Jacobi drafts."""

from __future__ import annotations

from typing import Any

from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

PRECISIONS = {"float32": "none", "bfloat16": "bf16"}
# Ours -> theirs. What is drawn from the left law there is its likeliest token here.
_INITS = {"random": "random", "repeat_left": "repeat_horizon", "law_left": "sample_horizon"}


def note_models(asked: Asked, script: str) -> None:
    """Tell that scripts take models of their own."""
    asked.note(
        Code.RUNTIME_ONLY, "workload",
        f"{script} loads models by arguments of its own, which have to fit the checkpoints: they "
        "are not in the file",
        asked.study.workload,
    )  # fmt: skip


def check_model(asked: Asked, script: str) -> None:
    """Refuse a shortened model."""
    if asked.part("decoder") != "speculative":
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "decoder", f"{script} runs every layer of a model",
            "take a candidate with decoder == \"speculative\"",
        )  # fmt: skip


def check_everywhere(asked: Asked, script: str) -> None:
    """Refuse a shortened model, and guidance that ends before an image does."""
    check_model(asked, script)
    if asked.knob("sampling.cfg") > 1.0 and asked.knob("sampling.cfg_interval") != -1:
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "sampling.cfg_interval", f"{script} guides every token",
            "take a candidate with cfg_interval == -1",
        )  # fmt: skip


def jacobi(asked: Asked, script: str) -> dict[str, Any]:
    """The constants of a Jacobi loop in the words of SJD's release, which others build on."""
    if asked.part("drafter") != "jacobi":
        asked.among("drafter", ("jacobi",), script)
        return {}
    if asked.knob("drafter.coupling") != "none":
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "drafter.coupling", f"{script} draws every guess afresh",
            "take a candidate with coupling == \"none\"",
        )  # fmt: skip
    asked.among("length", ("fixed",), script)
    init = asked.knob("drafter.init")
    if init not in _INITS:
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "drafter.init", f"{script} has no working guess from above",
            "take a candidate with init == \"random\" or \"repeat_left\"",
        )  # fmt: skip
    elif init == "law_left":
        asked.doubt("drafter.init", f"{script} draws from the law on the left, here it is the "
                    "likeliest token of it")  # fmt: skip
    return {
        "max_num_new_tokens": asked.knob("drafter.window"),
        "multi_token_init_scheme": _INITS.get(init, init),
        "prefix_token_sampler_scheme": "speculative_jacobi",
        "image_top_k": asked.knob("sampling.top_k"),
    }


def check_top_k(asked: Asked, script: str) -> None:
    """Refuse a law over all tokens, of scripts that always cut it."""
    if asked.knob("sampling.top_k") == 0:
        asked.doubt(
            "sampling.top_k",
            f"{script} always cuts the law: write the size of the codebook in place of 0",
        )


def check_residual(asked: Asked, script: str) -> None:
    """Refuse residuals that scripts do not have."""
    asked.among("residual", ("exact",), script)
