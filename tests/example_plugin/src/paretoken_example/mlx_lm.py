"""mlx-lm: arguments of `mlx_lm.generate`, for Apple silicon; plain decoding or a second model.

It draws the target's own token at each place and keeps drafts that are equal, which is the rule
`sample_and_match`; under greedy decoding the exact rule does the same. Its top-p cuts the law
before the temperature is applied, and before top-k.
Source: mlx-lm 0.32.2, generate.py and sample_utils.py.
"""

from __future__ import annotations

from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import text
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_FILE = "mlx_lm.args"


class MlxLm(Exporter):
    engine = Engine(
        "mlx-lm", "0.32.2", "mlx_lm/generate.py, sample_utils.py", "mlx_lm-0.32.json", "text"
    )

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        text.check_model(asked, name)
        text.check_fixed(asked, name)
        drafter = asked.among("drafter", ("none", "small_model"), name)
        rule = text.rule(asked, name, has=("sample_and_match",))
        if drafter != "none" and asked.knob("runtime.batch") > 1:
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "runtime.batch", f"{name} drafts for one sequence at a time",
                "take a candidate with batch == 1, or one that drafts nothing",
            )  # fmt: skip
        if drafter == "small_model" and rule == "exact" and not asked.greedy:
            asked.doubt(
                "verifier", f"{name} keeps drafts that the target draws too, which are fewer: the "
                "law of answers is the same, the speed is not",
            )  # fmt: skip
        if drafter == "small_model":
            text.check_drawn(asked, name)
        law = text.law(asked)
        if not asked.greedy and law["top_p"] < 1 and (law["temperature"] != 1 or law["top_k"] > 0):
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "sampling.top_p",
                f"{name} cuts by top_p before temperature and top_k, here it is the last",
                "take a candidate with top_p == 1, or temperature == 1 and top_k == 0",
            )  # fmt: skip
        asked.note(Code.RUNTIME_ONLY, "runtime.dtype", f"the files of the model fix it in {name}")
        found: dict[str, Any] = {"--temp": law["temperature"]}
        if not asked.greedy:
            found |= {"--top-k": law["top_k"], "--top-p": law["top_p"]}
        if drafter == "small_model":
            found["--draft-model"] = asked.option("draft", "DRAFT")
            found["--num-draft-tokens"] = asked.draft_length
        return {_FILE: found}

    def use(self, asked: Asked, documents: Documents) -> str:
        return (
            f"mlx_lm.generate --model {asked.option('model', 'MODEL')} $(cat FOLDER/{_FILE}) "
            f"--max-tokens {asked.option('tokens', '128')} --prompt PROMPT"
        )


plugin = MlxLm()
