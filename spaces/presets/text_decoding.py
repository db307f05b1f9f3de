"""Everything paretoken can vary when a language model answers, greedily and without a second model.

With a trained draft head it is the space `text-with-head`. For a small draft model add
`--option draft=PATH --set decoder.drafter=small_model`; for sampling in place of greedy decoding,
`--set sampling.temperature=0.7`, and for independent drafts then
`--set decoder.choice=drawn --set decoder.verifier=k_seq`.
"""

from __future__ import annotations

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space

# Plain decoding is measured by every study, so it is no choice here.
ALONE = ("prompt_lookup", "aggressive", "trigram", "early_layers", "skip_layers", "jacobi")


def text_decoding(drafters: tuple[str, ...] = ALONE) -> Space:
    """The derived space of a candidate for text, under greedy decoding and the default runtime."""
    return (
        Space(derive(Candidate, modality="text"))
        .narrow("decoder.drafter", drafters)
        # A shortened model by itself, or with drafts that cost nothing: two losses are not mixed.
        .narrow("shortened.drafter", ("none", "prompt_lookup"))
        # What has to be learnt first is searched by the preset `routers`.
        .narrow("shortened.depth", ("by_position", "by_prompt"))
        .fix("by_position.rank", 0)
        .fix("shortened.verifier", "exact")
        .fix("shortened.length", "fixed")
        .fix("shortened.drafts", 1)
        # Drawn under a law that is certain, drafts side by side would all be one.
        .fix("decoder.choice", "likeliest")
        .narrow("skip_layers.spread", ("evenly", "middle"))
        .narrow("jacobi.init", ("random", "repeat_left", "law_left"))
        .narrow("jacobi.coupling", ("none", "gumbel"))
        .narrow("jacobi.window", (2, 4, 8, 16))
        .narrow("speculative.verifier", ("exact", "tree", "typical", "top_beta", "lenient"))
        .fix("decoder.residual", "exact")
        .fix("sampling.temperature", 0.0)
        .fix("sampling.top_k", 0)
        .fix("sampling.top_p", 1.0)
        .fix("sampling.cfg", 1.0)
        .fix("sampling.cfg_interval", -1)
        .fix("runtime.dtype", "auto")
        .fix("runtime.batch", 1)
        .fix("runtime.graphs", True)
    )


plugin = text_decoding
