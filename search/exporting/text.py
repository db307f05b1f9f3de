"""What engines of language models have in common: what none can do, and rules that are alike."""

from __future__ import annotations

from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

# Drafters whose drafts are certain of themselves: they have no law but one token.
_LOOKED_UP = ("aggressive", "prompt_lookup", "trigram")


def check_model(asked: Asked, engine: str) -> None:
    """Refuse what no engine of language models serves: a shortened model, and guidance."""
    if asked.part("decoder") != "speculative":
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "decoder", f"{engine} runs every layer of a model",
            "take a candidate with decoder == \"speculative\"",
        )  # fmt: skip
    if asked.knob("sampling.cfg") > 1.0:
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "sampling.cfg", f"{engine} has no second pass without a prompt",
            "take a candidate with cfg == 1",
        )  # fmt: skip


def rule(asked: Asked, engine: str, has: tuple[str, ...] = (), removed: str = "") -> str:
    """The acceptance rule in force: "exact", or one of `has`; others are refused.

    Where they are the same as the exact rule they are called so: `block` where drafts or target are
    certain, `amplified` where the target is. removed: what became of the rule `typical`.
    """
    if asked.part("drafter") == "none":
        return "exact"
    name = asked.part("verifier")
    certain = asked.greedy or asked.part("drafter") in _LOOKED_UP
    if name == "exact" or (name == "block" and certain) or (name == "amplified" and asked.greedy):
        return "exact"
    if name in has:
        if asked.part("residual") != "exact":
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "residual", f"{engine} has one law after a rejection",
                "take a candidate with residual == \"exact\"",
            )  # fmt: skip
        return name
    if name == "typical" and removed:
        asked.refuse(Code.REMOVED, "verifier", removed, _LOSSLESS)
    elif name == "amplified":
        why = f"{engine} has no such rule"
        asked.refuse(Code.LOSSY_MISMATCH, "verifier", why, f"SGLang has it, or {_LOSSLESS}")
    else:
        code = Code.NOT_EXPRESSIBLE if name == "block" else Code.LOSSY_MISMATCH
        asked.refuse(code, "verifier", f"{engine} has no such acceptance rule", _LOSSLESS)
    return name


_LOSSLESS = 'take a candidate with verifier == "exact"'


def check_fixed(asked: Asked, engine: str) -> None:
    """Refuse every length rule but the fixed one."""
    if asked.part("drafter") != "none":
        asked.among("length", {"fixed"}, engine)


def check_first(asked: Asked, engine: str) -> None:
    """Refuse lookups that copy the latest occurrence, of engines that copy the first."""
    if asked.knob("drafter.which") != "first":
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "drafter.which", f"{engine} copies the first occurrence",
            "take a candidate with which == \"first\"",
        )  # fmt: skip


def drawn(asked: Asked) -> bool:
    """Whether a model's drafts are drawn from its law; greedily they are the likeliest anyway."""
    return not asked.greedy and bool(asked.knob("drafter.choice") == "drawn")


def check_drawn(asked: Asked, engine: str) -> None:
    """Refuse the likeliest drafts under sampling, of engines that draw them."""
    if not asked.greedy and not drawn(asked):
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "drafter.choice", f"{engine} draws drafts from the draft's law",
            "take a candidate with choice == \"drawn\"",
        )  # fmt: skip


def check_greedy_drafts(asked: Asked, engine: str) -> None:
    """Doubt a second model under sampling, of engines that take its likeliest token as draft."""
    if drawn(asked):
        asked.doubt(
            "sampling.temperature",
            f"{engine} drafts the likeliest token, while drafts here were drawn from the draft "
            "model's law: the law of answers is the same, the speed is not",
        )


def note_concurrency(asked: Asked) -> None:
    """Tell at how many requests side by side the speed was measured."""
    asked.note(
        Code.RUNTIME_ONLY, "runtime.batch",
        "the speed was measured with so many requests side by side; how many there will be is up "
        "to those who ask",
    )  # fmt: skip


def law(asked: Asked) -> dict[str, float | int]:
    """The sampling law in the words that all of them share."""
    names = ("temperature", "top_k", "top_p")
    return {name: asked.knob(f"sampling.{name}") for name in names}
