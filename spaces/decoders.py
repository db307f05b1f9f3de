"""Named decoders: published settings of the one decoding loop, as the trees of `spaces.candidate`.

Those of images differ from their papers in what they draft with: all but plain decoding use Jacobi
drafts, although LANTERN and Cool-SD were published with trained drafters. A named decoder says
nothing about the sampling law; temperature, guidance and top-k are the candidate's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paretoken.spaces.component import Component
from paretoken.spaces.errors import UnknownName


@dataclass(frozen=True)
class Named:
    """A published setting. doc: one sentence. source: where its numbers come from. modality: as of
    a component."""

    doc: str
    source: str
    tree: Mapping[str, Any]
    modality: str = "image"


def _loop(
    drafter: Mapping[str, Any], verifier: str = "exact", residual: str = "exact", **knobs: Any
) -> Mapping[str, Any]:
    jacobi = {"is": "drafters/jacobi"} if drafter else {"is": "drafters/none"}
    return {
        "is": "decoders/speculative",
        "drafter": {**jacobi, **drafter},
        "verifier": {"is": f"verifiers/{verifier}", **knobs},
        "residual": {"is": f"residuals/{residual}"},
        "length": {"is": "lengths/fixed"},
    }


_SJD = {"window": 16, "init": "random", "coupling": "none"}
# Stands where groups are not those of a fixed partition.
_NO_CLUSTERING = {
    "is": "clusterings/kmeans",
    "clusters": 32,
    "metric": "euclidean",
    "weighting": "uniform",
    "seed": 0,
    "n_init": 4,
    "max_iter": 100,
}
_LOOKUP = {
    "is": "drafters/prompt_lookup",
    "window": 11,
    "drafts": 1,
    "ngram": 2,
    "which": "first",
}

NAMED: dict[str, Named] = {
    "plain": Named(
        "One token a forward, drawn from the target's law.",
        "the definition of autoregressive decoding",
        _loop({}),
        modality="",
    ),
    "sjd": Named(
        "Speculative Jacobi decoding: window 16, random initial drafts; lossless.",
        "Teng et al. (ICLR 2025, arXiv:2410.01699), defaults of the released code",
        _loop(_SJD),
    ),
    "sjd-maximal": Named(
        "Speculative coupled decoding, maximal coupling, window 32; lossless.",
        "So et al. (ICML 2026, arXiv:2510.24211), lumina1/test_SCD_MC.py",
        _loop({"window": 32, "init": "random", "coupling": "maximal"}),
    ),
    "sjd-gumbel": Named(
        "Speculative coupled decoding, Gumbel coupling, window 32; token for token plain.",
        # Noise is shared with the final draw too, so that a guess stands if the two are equal.
        "So et al. (ICML 2026, arXiv:2510.24211), lumina1/test_SCD_GS.py",
        _loop({"window": 32, "init": "random", "coupling": "gumbel"}),
    ),
    "gsd": Named(
        "Grouped speculative decoding: groups of 25 around the draft in the target's ranking.",
        # G = 25 is the setting with a published FID (COCO); probabilities may differ by 0.15. The
        # distance filter (0.5 in the input embeddings of Lumina-mGPT) has no counterpart in other
        # models, and the paper's ablation shows the filters to change 0.1 % of the forwards: off.
        "So et al. (ICCV 2025, arXiv:2508.07747), the COCO row; distance filter off",
        _loop(
            _SJD, "grouped", size=25, probability=0.15, distance=1.0, space="normalised",
            source="target", clustering=_NO_CLUSTERING,
        ),
    ),
    "amplified": Named(
        "Acceptance min(1, 3 p/q): the baseline of the GSD paper.",
        "So et al. (ICCV 2025, arXiv:2508.07747), the row Amplify k = 3",
        _loop(_SJD, "amplified", factor=3.0),
    ),
    "cool-sd": Named(
        "Annealed acceptance: 1.5 p/q for the first draft, fading by exp(-0.7) a slot.",
        # The paper's code is not public and its delta not known here. Slots after the first are
        # tested more strictly than p/q, so the residual is the matched one, which is optimal.
        "Li et al. (AAAI 2026, arXiv:2601.09212): nu = 0.7; delta is our choice",
        _loop(_SJD, "annealed", "matched", delta=1.5, nu=0.7),
    ),
    "lantern": Named(
        "LANTERN: mass of up to 1,000 nearest codes, at most 0.1 in all.",
        "Jang et al. (ICLR 2025, arXiv:2410.03355), defaults of the released code",
        _loop(
            _SJD, "latent_neighbour", k=1000, bound_kind="additive", bound=0.1, space="codebook"
        ),
    ),
    "lantern++": Named(
        "LANTERN++: mass of up to 10 nearest codes, at most 4 times the draft's own.",
        "Park et al. (2025, arXiv:2502.06352), k = 10 and lambda = 5 of the released run.sh",
        _loop(
            _SJD, "latent_neighbour", k=10, bound_kind="multiplicative", bound=5.0,
            space="codebook",
        ),
    ),
    "prompt-lookup": Named(
        "Prompt lookup: the 10 tokens behind the last 2, where they occurred first; lossless.",
        "Saxena (2023); defaults of Hugging Face transformers with prompt_lookup_num_tokens = 10",
        _loop(_LOOKUP),
        modality="text",
    ),
    "aggressive": Named(
        "Input-guided aggressive decoding: the source is the draft; lossless.",
        # The paper copies the whole source; 32 tokens are as many as a window here may gain.
        "Sun et al. (ACL 2021, arXiv:2106.04970); windows of 33",
        _loop({"is": "drafters/aggressive", "window": 33, "ngram": 3}),
        modality="text",
    ),
    "gad++": Named(
        "Top-beta acceptance of copied drafts: among the best 5, within 3 nats.",
        # The paper drafts with a trained parallel decoder.
        "Xia et al. (2022, arXiv:2203.16487), beta and tau of inference.sh; aggressive drafts",
        _loop(
            {"is": "drafters/aggressive", "window": 26, "ngram": 3}, "top_beta", beta=5, tau=3.0
        ),
        modality="text",
    ),
    "spectr": Named(
        "SpecTr: 8 drafts of 4 tokens by a small model, one taken by k-SEQ; lossless.",
        "Sun et al. (NeurIPS 2023, arXiv:2310.15141), K = 8 and L = 4",
        _loop(
            {"is": "drafters/small_model", "window": 5, "drafts": 8, "choice": "drawn"}, "k_seq"
        ),
        modality="text",
    ),
    "typical": Named(
        "Medusa's typical acceptance of looked-up drafts.",
        # The paper drafts with trained heads.
        "Cai et al. (ICML 2024, arXiv:2401.10774): epsilon 0.09, delta 0.3; prompt-lookup drafts",
        _loop(
            _LOOKUP,
            "typical", epsilon=0.09, delta=0.3,
        ),
        modality="text",
    ),
}  # fmt: skip


def named_decoder(name: str) -> Component:
    """The component of a named decoder; raises UnknownName with the known ones."""
    from paretoken.spaces.candidate import from_tree

    if name not in NAMED:
        raise UnknownName("named decoder", name, NAMED)
    return from_tree(NAMED[name].tree, "decoders")
