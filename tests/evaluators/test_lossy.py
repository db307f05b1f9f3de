"""Lossy verifiers emit the law their definition says, and equal each other where they must.

The definitions are written out here once more, in plain Python and token by token.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.components.drafters.none import NoDraft
from paretoken.evaluators.engine.geometry import SPACES, Geometry
from paretoken.evaluators.engine.laws import draw, one_hot
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance, PerToken, Residual
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import BadInput

Law = list[float]
Tree = dict[str, Any]

V = 12
# Sums of at most V float64 terms of size 1, in two orders, and a quotient: a few V * 2**-53.
CLOSE = 1e-13
# About 100 chi-square tests at this level: a right engine fails one choice of seed in 1,000.
LEVEL = 1e-5


def amplified(factor: float) -> Tree:
    return {"is": "verifiers/amplified", "factor": factor}


def annealed(delta: float, nu: float) -> Tree:
    return {"is": "verifiers/annealed", "delta": delta, "nu": nu}


def neighbour(k: int, kind: str, bound: float, space: str = "normalised") -> Tree:
    is_ = "verifiers/latent_neighbour"
    return {"is": is_, "k": k, "bound_kind": kind, "bound": bound, "space": space}


def grouped(
    size: int,
    source: str = "target",
    probability: float = 1.0,
    distance: float = 1.0,
    space: str = "normalised",
) -> Tree:
    return {
        "is": "verifiers/grouped",
        "size": size,
        "source": source,
        "probability": probability,
        "distance": distance,
        "space": space,
        # As many clusters as groups of that size: of the tests' 12 tokens, and of the toys' 5.
        "clustering": {"is": "clusterings/kmeans", "clusters": max(2, 12 // size)},
    }


def clustered(clusters: int, by: str = "kmeans", space: str = "normalised") -> Tree:
    tree = grouped(14, "clustering", space=space)
    return tree | {"clustering": {"is": f"clusterings/{by}", "clusters": clusters}}


SOURCES = ("target", "draft", "blocks", "clustering")
RESIDUALS = ("exact", "matched", "group")
RELAXING = [
    amplified(2.0),
    annealed(1.6, 0.0),
    *(neighbour(5, "additive", 0.23, space) for space in SPACES),
    *(neighbour(4, "multiplicative", 2.7, space) for space in SPACES),
    neighbour(11, "additive", 1.0),
]
LOSSY = [
    *RELAXING,
    annealed(1.7, 0.6),
    *(grouped(size, source) for source in SOURCES for size in (3, 4)),
    *(grouped(5, source, probability=0.07) for source in SOURCES),
    *(grouped(5, source, distance=0.41, space="codebook") for source in SOURCES),
    *(grouped(6, "target", 0.11, 0.63, space) for space in SPACES),
    clustered(3, space="embedding"),
    clustered(4, "balanced"),
    clustered(5, "agglomerative", "codebook"),
]
IDENTICAL_TO_EXACT = [
    grouped(1),
    *(grouped(5, source, probability=0.0) for source in SOURCES),
    *(grouped(5, source, distance=0.0) for source in SOURCES),
    neighbour(0, "additive", 0.4),
    neighbour(0, "multiplicative", 4.0),
    neighbour(7, "multiplicative", 1.0),
    neighbour(7, "additive", 0.0),
    amplified(1.0),
    annealed(1.0, 0.0),
]


def name(value: Any) -> str:
    return "-".join(str(v).rpartition("/")[2] for v in value.values())


# ------------------------------------------------------------- the definitions, in plain Python


class Places:
    """Where tokens lie, as lists; the independent counterpart of `Geometry`."""

    def __init__(self, embedding: Tensor, codebook: Tensor) -> None:
        self.geometry = Geometry(embedding, codebook)
        unit = [[c / math.hypot(*row) for c in row] for row in codebook.tolist()]
        self.rows = {"embedding": embedding.tolist(), "codebook": codebook.tolist()}
        self.rows["normalised"] = unit

    def distance(self, space: str, x: int, y: int) -> float:
        rows = self.rows[space]
        return float(sum((a - b) ** 2 for a, b in zip(rows[x], rows[y], strict=True)))

    def nearest(self, space: str, x: int) -> list[int]:
        others = [y for y in range(len(self.rows[space])) if y != x]
        return sorted(others, key=lambda y: self.distance(space, x, y))

    def quantile(self, space: str, share: float) -> float:
        tokens = range(len(self.rows[space]))
        pairs = sorted(self.distance(space, x, y) for x, y in itertools.permutations(tokens, 2))
        return pairs[min(len(pairs) - 1, int(share * len(pairs)))]


def places(vocabulary: int = V, seed: int = 0) -> Places:
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(vocabulary, 4, generator=generator)
    return Places(embedding, torch.randn(vocabulary, 3, generator=generator))


def quotient(over: float, under: float) -> float:
    if under > 0:
        return over / under
    return math.inf if over > 0 else 0.0


def borrowed(rule: Tree, p: Law, x: int, where: Places) -> float:
    """LANTERN: the mass of the longest prefix of x's k nearest neighbours within the bound."""
    additive = rule["bound_kind"] == "additive"
    limit = rule["bound"] if additive else (rule["bound"] - 1.0) * p[x]
    if additive and limit >= 1.0:
        limit = math.inf
    mass = 0.0
    for y in where.nearest(rule["space"], x)[: rule["k"]]:
        if mass + p[y] > limit:
            break
        mass += p[y]
    return mass


def group_of(rule: Tree, p: Law, q: Law, x: int, where: Places) -> list[int]:
    """GSD: the tokens that share a group with x, x included."""
    size = rule["size"]
    if rule["source"] == "clustering":
        clustering = cast(Any, from_tree(rule["clustering"], "clusterings"))
        rows = torch.tensor(where.rows[rule["space"]], dtype=torch.float32).double().numpy()
        labels = clustering.partition(rows).labels.tolist()
        group = [y for y in range(len(p)) if labels[y] == labels[x]]
    else:
        law = q if rule["source"] == "draft" else p
        ranking = sorted(range(len(p)), key=lambda y: (-law[y], y))
        rank = ranking.index(x)
        if rule["source"] == "blocks":
            first = rank - rank % size
            group = ranking[first : first + size]
        else:
            likelier = (size - 1) // 2
            group = ranking[max(0, rank - likelier) : rank - likelier + size]
    if rule["probability"] < 1.0:
        group = [y for y in group if y == x or abs(p[y] - p[x]) < rule["probability"]]
    if rule["distance"] < 1.0:
        limit = where.quantile(rule["space"], rule["distance"])
        group = [y for y in group if y == x or where.distance(rule["space"], x, y) < limit]
    return group


def ratio_of(rule: Tree, p: Law, q: Law, x: int, slot: int, where: Places) -> float:
    """The likelihood ratio of token x, 0 if the target forbids it."""
    if p[x] == 0.0:
        return 0.0
    match rule["is"]:
        case "verifiers/exact":
            return quotient(p[x], q[x])
        case "verifiers/amplified":
            return cast(float, rule["factor"]) * quotient(p[x], q[x])
        case "verifiers/annealed":
            return cast(float, rule["delta"]) * math.exp(-rule["nu"] * slot) * quotient(p[x], q[x])
        case "verifiers/latent_neighbour":
            return quotient(p[x] + borrowed(rule, p, x, where), q[x])
    group = group_of(rule, p, q, x, where)
    return quotient(sum(p[y] for y in group), sum(q[y] for y in group))


def scaled(mass: Law, otherwise: Law) -> Law:
    total = sum(mass)
    return [m / total for m in mass] if total > 0 else otherwise


def residual_of(kind: str, p: Law, q: Law, ratios: Law) -> Law:
    if kind == "exact":
        return scaled([max(0.0, a - b) for a, b in zip(p, q, strict=True)], p)
    every = list(zip(p, q, ratios, strict=True))
    if kind == "matched":
        return scaled([max(0.0, a - b * min(1.0, r)) for a, b, r in every], p)
    return scaled([a * max(0.0, 1.0 - 1.0 / r) if r > 0 else 0.0 for a, _, r in every], p)


def emitted(rule: Tree, residual: str, p: Law, q: Law, slot: int, where: Places) -> Law:
    """out = q * a + (1 - E_q a) * residual: the law of one verified position."""
    ratios = [ratio_of(rule, p, q, x, slot, where) for x in range(len(p))]
    accepted = [b * min(1.0, r) for b, r in zip(q, ratios, strict=True)]
    rest = residual_of(residual, p, q, ratios)
    return [a + (1.0 - sum(accepted)) * r for a, r in zip(accepted, rest, strict=True)]


# ------------------------------------------------------------------------------- what is probed


def flat(*law: float) -> Law:
    return [value / math.fsum(law) for value in law]


def probes() -> dict[str, tuple[Law, Law]]:
    """Pairs (p, q) that cover what laws can be like."""
    generator = torch.Generator().manual_seed(5)
    dense = (
        torch.randn(5, V, generator=generator, dtype=torch.float64).mul(1.3).softmax(-1).tolist()
    )
    sparse = flat(*(0.0 if i % 3 == 1 else a for i, a in enumerate(dense[2])))
    likely = max(range(V), key=dense[0].__getitem__)
    unlikely = min(range(V), key=dense[0].__getitem__)
    certain = [[float(i == at) for i in range(V)] for at in range(V)]
    return {
        "dense": (dense[0], dense[1]),
        "zeros in p": (sparse, dense[3]),
        "zeros in q": (dense[3], sparse),
        "zeros in both": (sparse, flat(*(0.0 if i < 4 else a for i, a in enumerate(dense[4])))),
        "sure of a likely draft": (dense[0], certain[likely]),
        "sure of an unlikely draft": (dense[0], certain[unlikely]),
        "sure of a forbidden draft": (sparse, certain[1]),
        "sure target": (certain[3], dense[1]),
        "sure of the same": (certain[3], certain[3]),
        "sure of two things": (certain[3], certain[7]),
        "the same law": (dense[1], dense[1]),
        "ties": (
            flat(3, 3, 3, 1, 1, 1, 2, 2, 2, 2, 3, 1),
            flat(1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 4, 4),
        ),
        "flat": ([1 / V] * V, [1 / V] * V),
        "flat target": ([1 / V] * V, dense[4]),
    }


PROBES = probes()
POSITIVE = ("dense", "zeros in q", "sure of a likely draft", "the same law", "ties", "flat target")


def verifier_of(tree: Tree) -> PerToken:
    return cast(PerToken, from_tree(tree, "verifiers"))


def residual_named(kind: str) -> Residual:
    return cast(Residual, from_tree({"is": f"residuals/{kind}"}, "residuals"))


def acceptances(tree: Tree, p: Law, q: Law, where: Places, slot: int = 0) -> Tensor:
    """a(x) of every token."""
    dtype = torch.float64
    law, draft = torch.tensor([p], dtype=dtype), torch.tensor([q], dtype=dtype)
    everything = torch.arange(len(p)).unsqueeze(0)
    return verifier_of(tree).acceptance(law, draft, everything, torch.tensor(slot), where.geometry)[
        0
    ]


def chain(tokens: Tensor, laws: Tensor, valid: Tensor | None = None) -> Proposal:
    """A chain of drafts; tokens [B, D], laws [B, D, V]."""
    valid = torch.ones_like(tokens, dtype=torch.bool) if valid is None else valid
    return Proposal(tokens, laws, valid, tuple(range(-1, tokens.shape[1] - 1)))


def one_slot(
    tree: Tree, residual: str, p: Law, q: Law, drafts: Tensor, uniform: Tensor, slot: int
) -> tuple[Tensor, Tensor]:
    """`select` at one slot, all slots before it being kept: accepted [B] bool and next law [B, V].

    The slots before it have another law, whose likeliest token is drafted with certainty; the one
    after it has the flat law.
    """
    batch = len(drafts)
    earlier = torch.tensor(PROBES["ties"][0], dtype=torch.float64).expand(batch, slot, V)
    here = torch.tensor([[p]], dtype=torch.float64).expand(batch, -1, -1)
    after = torch.full((batch, 1, V), 1 / V, dtype=torch.float64)
    kept = torch.zeros(batch, slot, dtype=torch.int64)
    draft = torch.tensor([[q]], dtype=torch.float64).expand(batch, -1, -1)
    proposal = chain(
        torch.cat([kept, drafts.unsqueeze(-1)], dim=1),
        torch.cat([one_hot(kept, V, torch.float64), draft], dim=1),
    )
    chance = Chance(torch.cat([torch.zeros(batch, slot), uniform.unsqueeze(-1)], dim=1), None)
    verdict = verifier_of(tree).select(
        torch.cat([earlier, here, after], dim=1),
        proposal,
        residual_named(residual),
        chance,
        places().geometry,
    )
    assert bool((verdict.accepted >= slot).all())
    return verdict.accepted > slot, verdict.law


# -------------------------------------------------------------------------- one verified position


@pytest.mark.parametrize("slot", [0, 2])
@pytest.mark.parametrize("tree", LOSSY, ids=name)
def test_acceptance_is_the_written_definition(tree: Tree, slot: int) -> None:
    where = places()
    for p, q in PROBES.values():
        expected = [min(1.0, ratio_of(tree, p, q, x, slot, where)) for x in range(V)]
        found = acceptances(tree, p, q, where, slot)
        drafted = torch.tensor(q) > 0  # only these can be asked for
        assert torch.allclose(
            found[drafted], torch.tensor(expected, dtype=torch.float64)[drafted], rtol=0, atol=CLOSE
        )


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("tree", LOSSY, ids=name)
def test_one_position_emits_the_law_of_the_formula(tree: Tree, residual: str) -> None:
    """The law is assembled from what `select` answers to every draft, and compared exactly."""
    where, drafts = places(), torch.arange(V)
    almost_one = torch.full((V,), 1.0 - 2.0**-24)
    for p, q in PROBES.values():
        for slot in (0, 2):
            accepted, rest = one_slot(tree, residual, p, q, drafts, almost_one, slot)
            a = acceptances(tree, p, q, where, slot)
            assert torch.equal(accepted, a > almost_one)
            mass = torch.tensor(q, dtype=torch.float64)
            found = mass * a + (mass * (1.0 - a)).unsqueeze(0) @ torch.where(
                accepted.unsqueeze(-1), 0.0, rest
            )
            expected = torch.tensor(emitted(tree, residual, p, q, slot, where), dtype=torch.float64)
            # A draft whose acceptance rounds to just below 1 counts as accepted: 2**-24 of q.
            assert torch.allclose(found[0], expected, rtol=0, atol=CLOSE)
            assert abs(float(expected.sum()) - 1.0) < CLOSE


def counts_p_value(chi_square: Any, tokens: Tensor, law: Law) -> float:
    return cast(float, chi_square(tokens.unsqueeze(-1), {(x,): law[x] for x in range(len(law))}))


def sampled(tree: Tree, residual: str, p: Law, q: Law, slot: int, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(99)
    drafts = torch.tensor(q).multinomial(samples, replacement=True, generator=generator)
    uniform = torch.rand(samples, generator=generator)
    accepted, law = one_slot(tree, residual, p, q, drafts, uniform, slot)
    redrawn = draw(law, torch.rand(samples, generator=generator).clamp_min(2.0**-24))
    return torch.where(accepted, drafts, redrawn)


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("tree", LOSSY, ids=name)
def test_sampling_one_position_follows_the_formula(
    tree: Tree, residual: str, chi_square: Any
) -> None:
    p, q = PROBES["dense"]
    tokens = sampled(tree, residual, p, q, 1, 10_000)
    expected = emitted(tree, residual, p, q, 1, places())
    assert counts_p_value(chi_square, tokens, expected) > LEVEL


@pytest.mark.parametrize(
    "tree", [amplified(2.0), grouped(4), neighbour(5, "additive", 0.23)], ids=name
)
def test_sampling_one_position_tells_laws_apart(tree: Tree, chi_square: Any) -> None:
    """Negative control: neither the target's law nor another residual's passes."""
    p, q = PROBES["dense"]
    tokens = sampled(tree, "group", p, q, 1, 10_000)
    assert counts_p_value(chi_square, tokens, p) < LEVEL
    other = emitted(tree, "exact", p, q, 1, places())
    assert counts_p_value(chi_square, tokens, other) < LEVEL


# ------------------------------------------------------------------------------ a decoder's output


def line(vocabulary: int) -> Places:
    """The geometry that the `run` fixture decodes with."""
    at = torch.arange(vocabulary).double().pow(1.3).unsqueeze(1)
    return Places(at, torch.cat([at, 2.0 - at], dim=1))


def two_token_law(rule: Tree, residual: str, target: Any) -> dict[tuple[int, ...], float]:
    """The law of a window of 2 on samples of 2 tokens, whose first draft is any token for certain.

    Kept: the second token is the target's. Refused: the draft's own continuation is the next draft.
    """
    tokens, where = range(target.vocabulary), line(target.vocabulary)
    first = target.logits[0, 0, 0].softmax(-1).tolist()
    second = [target.logits[0, 1, t].softmax(-1).tolist() for t in tokens]
    law = dict.fromkeys(itertools.product(tokens, repeat=2), 0.0)
    for draft in tokens:
        certain = [float(t == draft) for t in tokens]
        ratios = [ratio_of(rule, first, certain, t, 0, where) for t in tokens]
        kept = min(1.0, ratios[draft])
        refused = residual_of(residual, first, certain, ratios)
        for t0, t1 in law:
            own = second[draft][t1] if t0 == draft else 0.0
            corrected = emitted(rule, residual, second[t0], second[draft], 0, where)[t1]
            law[t0, t1] += (kept * own + (1.0 - kept) * refused[t0] * corrected) / len(tokens)
    return law


@pytest.mark.parametrize("coupling", ["none", "maximal"])
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize(
    "tree",
    [
        {"is": "verifiers/exact"},
        amplified(3.0),
        annealed(2.0, 0.5),
        neighbour(2, "additive", 0.4),
        neighbour(2, "multiplicative", 2.5, "codebook"),
        grouped(2),
        grouped(3, "draft"),
        grouped(2, "blocks"),
        clustered(3, space="embedding"),
        grouped(3, "target", 0.3, 0.7, "codebook"),
    ],
    ids=name,
)
def test_two_tokens_follow_the_enumerated_law(
    tree: Tree, residual: str, coupling: str, toy_of: Any, run: Any, chi_square: Any
) -> None:
    target = toy_of(vocabulary=5, length=2)
    drafter = {"is": "drafters/jacobi", "window": 2, "init": "random", "coupling": coupling}
    decoder = {"drafter": drafter, "verifier": tree, "residual": {"is": f"residuals/{residual}"}}
    tokens, _ = run(target, decoder, 8_000, batch=256)
    law = two_token_law(tree, residual, target)
    assert abs(sum(law.values()) - 1.0) < CLOSE
    assert chi_square(tokens, law) > LEVEL
    # The other way round: that the law is another than the target's is noticed.
    assert (chi_square(tokens, target.law()) > LEVEL) == (tree["is"] == "verifiers/exact")


GREEDY = [amplified(3.0), annealed(1.2, 0.7), neighbour(2, "additive", 0.9), grouped(2), grouped(6)]


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("tree", [*GREEDY, *(grouped(2, s) for s in SOURCES[1:])], ids=name)
def test_greedy_is_plain_greedy_however_lossy_the_verifier(
    tree: Tree, residual: str, toy: Any, run: Any
) -> None:
    """All laws are certain: only a match is kept, and a refusal leaves the target's own token."""
    greedy = {"temperature": 0.0}
    plain, _ = run(toy, {}, 2, batch=2, sampling=greedy)
    for window, coupling in ((2, "none"), (8, "maximal")):
        drafter = {"is": "drafters/jacobi", "window": window, "coupling": coupling}
        decoder = {
            "drafter": drafter,
            "verifier": tree,
            "residual": {"is": f"residuals/{residual}"},
        }
        lossy, _ = run(toy, decoder, 12, batch=3, sampling=greedy)
        assert torch.equal(lossy, plain[:1].expand(12, -1))


def test_one_verifier_is_plain_at_window_1_and_biased_at_window_16(
    toy: Any, run: Any, chi_square: Any
) -> None:
    """Quality must not be keyed by the verifier's floats alone."""
    tree = grouped(16)
    alone, ahead = (
        {"drafter": {"is": "drafters/jacobi", "window": window}, "verifier": tree}
        for window in (1, 16)
    )
    speculative = {"is": "decoders/speculative"}
    written = [cast(Any, from_tree(speculative | d, "decoders")) for d in (alone, ahead)]
    assert written[0].verifier == written[1].verifier
    simplest = cast(Any, canonical(written[0]))
    assert simplest == canonical(from_tree(speculative, "decoders"))
    assert isinstance(simplest.drafter, NoDraft)
    assert canonical(written[1]) != simplest
    plain, _ = run(toy, alone, 4_000, batch=256)
    biased, _ = run(toy, ahead, 4_000, batch=256)
    assert chi_square(plain, toy.law()) > LEVEL
    assert chi_square(biased, toy.law()) < LEVEL


# --------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("tree", IDENTICAL_TO_EXACT, ids=name)
def test_a_relaxation_of_nothing_is_exact(tree: Tree) -> None:
    exact = {"is": "verifiers/exact"}
    assert canonical(verifier_of(tree)) == verifier_of(exact)
    where = places()
    for p, q in PROBES.values():
        for slot in (0, 3):
            assert torch.equal(
                acceptances(tree, p, q, where, slot), acceptances(exact, p, q, where, slot)
            )


@pytest.mark.parametrize("tree", LOSSY, ids=name)
def test_a_real_relaxation_is_not_exact(tree: Tree) -> None:
    """Negative control of the identities: the probes can tell."""
    exact, where = {"is": "verifiers/exact"}, places()
    assert canonical(verifier_of(tree)) != verifier_of(exact)
    p, q = PROBES["dense"]
    assert not torch.equal(acceptances(tree, p, q, where), acceptances(exact, p, q, where))


def test_filters_that_never_bind_are_one_class() -> None:
    written = [grouped(5, space=space) for space in SPACES]
    assert len({str(canonical(verifier_of(tree))) for tree in written}) == 1
    split = [grouped(5, "clustering", space=space) for space in SPACES]
    assert len({str(canonical(verifier_of(tree))) for tree in split}) == len(SPACES)


def test_a_clustering_matters_where_it_forms_the_groups_and_then_their_size_does_not() -> None:
    def simplest(tree: Tree) -> str:
        return str(canonical(verifier_of(tree)))

    other = {"clustering": {"is": "clusterings/random", "clusters": 7}}
    for source in ("target", "draft", "blocks"):
        assert simplest(grouped(5, source)) == simplest(grouped(5, source) | other)
    assert simplest(clustered(7)) != simplest(clustered(7) | other)
    assert simplest(clustered(7)) == simplest(clustered(7) | {"size": 1})
    by_use = {"is": "clusterings/kmeans", "clusters": 7, "weighting": "usage"}
    assert simplest(clustered(7)) == simplest(clustered(7) | {"clustering": by_use})


def test_masses_summed_once_are_those_of_the_listed_members() -> None:
    """Without a filter no member is looked at; a filter that never binds looks at all."""
    where = places()
    for tree in (clustered(3), clustered(5, "balanced"), clustered(2, "agglomerative", "codebook")):
        for p, q in PROBES.values():
            law, draft = (torch.tensor([v], dtype=torch.float64) for v in (p, q))
            tokens = torch.arange(V).unsqueeze(0)
            found = cast(Any, verifier_of(tree))
            listed, present = found._members(law, draft, tokens, where.geometry)
            flat = listed.flatten(-2)
            over, under = (
                (of.gather(-1, flat).view(listed.shape) * present).sum(-1) for of in (law, draft)
            )
            summed = found.ratio(law, draft, tokens, torch.tensor(0), where.geometry)
            drafted = torch.tensor([q]) > 0
            assert torch.allclose(summed[drafted], (over / under)[drafted], rtol=1e-12, atol=CLOSE)


@pytest.mark.parametrize("bound", [1.0, 1.5, 100.0])
def test_additive_bounds_of_one_and_more_are_one_class(bound: float) -> None:
    where = places()
    tree, widest = neighbour(9, "additive", bound), neighbour(9, "additive", 1.0)
    assert canonical(verifier_of(tree)) == canonical(verifier_of(widest))
    for p, q in PROBES.values():
        assert torch.equal(acceptances(tree, p, q, where), acceptances(widest, p, q, where))


def test_an_additive_bound_of_one_borrows_all_even_where_sums_round_above_one() -> None:
    """In float32 the masses of 512 neighbours add up to a little more than 1 for many laws."""
    where = places(vocabulary=512, seed=1)
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(64, 512, generator=generator).mul(3).softmax(-1)
    p[:, 0] = 1e-12
    p /= p.sum(-1, keepdim=True)
    near = where.geometry.neighbours("normalised", 511)[0]
    assert bool((p[:, near].cumsum(-1)[:, -1] > 1.0).any())
    drafts = torch.zeros(64, 1, dtype=torch.int64)
    q = one_hot(drafts[:, 0], 512, torch.float32)
    ratio = verifier_of(neighbour(511, "additive", 1.0)).ratio(
        p, q, drafts, torch.zeros(1, dtype=torch.int64), where.geometry
    )
    # A float32 sum of 512 terms is off by at most 512 * 2**-24 = 3e-5.
    assert torch.allclose(ratio, torch.ones(()), rtol=0, atol=3e-5)


@pytest.mark.parametrize("tree", RELAXING, ids=name)
def test_matched_is_exact_for_rules_that_only_relax(tree: Tree) -> None:
    """ratio >= p/q everywhere; then both residuals are the same law, and canonically one."""
    assert verifier_of(tree).relaxes_only
    drafts = torch.arange(V)
    never = torch.ones(V)
    for p, q in PROBES.values():
        _, matched = one_slot(tree, "matched", p, q, drafts, never, 0)
        _, exact = one_slot(tree, "exact", p, q, drafts, never, 0)
        assert torch.allclose(matched, exact, rtol=0, atol=CLOSE)
    speculative = {"is": "decoders/speculative", "drafter": {"is": "drafters/jacobi"}}
    both = [
        speculative | {"verifier": tree, "residual": {"is": f"residuals/{kind}"}}
        for kind in ("matched", "exact")
    ]
    assert canonical(from_tree(both[0], "decoders")) == canonical(from_tree(both[1], "decoders"))


@pytest.mark.parametrize("tree", [grouped(4), grouped(4, "blocks"), annealed(1.7, 0.6)], ids=name)
def test_matched_differs_from_exact_where_a_rule_can_be_stricter(tree: Tree) -> None:
    assert not verifier_of(tree).relaxes_only
    p, q = PROBES["dense"]
    drafts, never = torch.arange(V), torch.ones(V)
    _, matched = one_slot(tree, "matched", p, q, drafts, never, 2)
    _, exact = one_slot(tree, "exact", p, q, drafts, never, 2)
    assert float((matched - exact).abs().max()) > 0.01


def test_a_group_of_everything_keeps_every_allowed_draft() -> None:
    for size in (2 * V, 2 * V + 1, 1024):
        for p, q in PROBES.values():
            found = acceptances(grouped(size), p, q, places())
            allowed = torch.tensor(p) > 0
            assert torch.allclose(found, allowed.double(), rtol=0, atol=CLOSE)


def partitions() -> list[Tree]:
    blocks = [grouped(size, "blocks") for size in (2, 3, 5, 12)]
    ways = ("kmeans", "balanced", "agglomerative", "random")
    return blocks + [clustered(k, by, s) for k in (2, 5) for by in ways for s in SPACES]


def parts_of(tree: Tree, p: Law, q: Law, where: Places) -> list[list[int]]:
    groups = {tuple(sorted(group_of(tree, p, q, x, where))) for x in range(V)}
    assert sorted(itertools.chain(*groups)) == list(range(V))  # a true partition
    return [list(group) for group in groups]


def total_variation(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2


@pytest.mark.parametrize("tree", partitions(), ids=name)
def test_a_partition_accepts_as_often_as_its_group_laws_overlap(tree: Tree) -> None:
    """E_q a = 1 - TV(p', q'), and never less than 1 - TV(p, q); p is positive everywhere, because
    a draft that the target forbids is refused whatever its group."""
    where = places()
    for p, q in (PROBES[key] for key in POSITIVE):
        parts = parts_of(tree, p, q, where)
        of_p, of_q = ([sum(law[x] for x in part) for part in parts] for law in (p, q))
        found = float((torch.tensor(q, dtype=torch.float64) * acceptances(tree, p, q, where)).sum())
        assert abs(found - (1.0 - total_variation(of_p, of_q))) < CLOSE
        assert found >= 1.0 - total_variation(p, q) - CLOSE


@pytest.mark.parametrize("tree", partitions(), ids=name)
def test_the_group_residual_keeps_the_marginals_of_a_partition(tree: Tree) -> None:
    where = places()
    for p, q in (PROBES[key] for key in POSITIVE):
        _, rest = one_slot(tree, "group", p, q, torch.arange(V), torch.ones(V), 0)
        a = acceptances(tree, p, q, where)
        mass = torch.tensor(q, dtype=torch.float64)
        out = (mass * a + (1.0 - (mass * a).sum()) * rest[0]).tolist()
        for part in parts_of(tree, p, q, where):
            assert abs(sum(out[x] for x in part) - sum(p[x] for x in part)) < CLOSE
    p, q = PROBES["dense"]
    if tree["size"] < V:  # Negative control: the exact residual does not
        out = emitted(tree, "exact", p, q, 0, where)
        parts = parts_of(tree, p, q, where)
        assert max(abs(sum(out[x] - p[x] for x in part)) for part in parts) > 0.005


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("delta", [0.06, 0.23, 0.57])
def test_the_relaxed_law_stays_within_delta_of_the_target(delta: float, space: str) -> None:
    """TV(p~, p) is the mass moved, and at most delta; with one more neighbour it would be more."""
    where = places()
    rule = neighbour(V - 1, "additive", delta, space)
    for p, _ in PROBES.values():
        for x in range(V):
            certain = [float(y == x) for y in range(V)]
            law, draft = (torch.tensor([v], dtype=torch.float64) for v in (p, certain))
            at = torch.tensor([[x]])
            relaxed = float(verifier_of(rule).ratio(law, draft, at, at * 0, where.geometry))
            moved = relaxed - p[x]
            near = where.nearest(space, x)
            for count in range(V):  # the prefix whose mass that is
                if abs(sum(p[y] for y in near[:count]) - moved) < CLOSE:
                    break
            else:
                pytest.fail("no prefix of the neighbours has the mass that was borrowed")
            shifted = [0.0 if y in near[:count] else p[y] for y in range(V)]
            shifted[x] = relaxed
            assert abs(total_variation(shifted, p) - moved) < CLOSE
            assert moved <= delta
            while count < V - 1 and p[near[count]] == 0.0:
                count += 1
            if count < V - 1:
                assert moved + p[near[count]] > delta


def random_chains(batch: int, depth: int) -> tuple[Tensor, Proposal, Chance]:
    generator = torch.Generator().manual_seed(17)
    shape = (batch, depth + 1, V)
    laws = torch.randn(shape, generator=generator, dtype=torch.float64).mul(1.5).softmax(-1)
    drafts = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(-1)[:, :depth]
    tokens = drafts.flatten(0, 1).multinomial(1, generator=generator).view(batch, depth)
    return laws, chain(tokens, drafts), Chance(torch.rand(batch, depth, generator=generator), None)


@pytest.mark.parametrize(
    "ladder",
    [
        [neighbour(k, "additive", 0.4) for k in range(V)],
        [neighbour(k, "multiplicative", 4.0) for k in range(V)],
        [neighbour(8, "additive", delta) for delta in (0.0, 0.03, 0.1, 0.2, 0.4, 0.8, 1.0)],
        [neighbour(8, "multiplicative", bound) for bound in (1.0, 1.2, 2.0, 5.0, 100.0)],
        [amplified(factor) for factor in (1.0, 1.5, 2.0, 4.0, 16.0)],
        [annealed(delta, 0.3) for delta in (1.0, 1.5, 4.0)],
        [annealed(2.0, nu) for nu in (4.0, 1.0, 0.3, 0.0)],
    ],
    ids=lambda ladder: name(ladder[-1]),
)
def test_more_relaxation_never_keeps_less_under_the_same_uniforms(ladder: list[Tree]) -> None:
    laws, proposal, chance = random_chains(400, 5)
    residual, geometry = residual_named("exact"), places().geometry
    kept = [
        verifier_of(tree).select(laws, proposal, residual, chance, geometry).accepted
        for tree in ladder
    ]
    for less, more in itertools.pairwise(kept):
        assert bool((less <= more).all())
    assert bool((kept[0] < kept[-1]).any())


# ------------------------------------------------------------------------- the edges of a selection


@pytest.mark.parametrize("tree", [*LOSSY, *IDENTICAL_TO_EXACT, grouped(64)], ids=name)
def test_a_forbidden_token_is_never_kept(tree: Tree) -> None:
    smallest = torch.full((V,), 2.0**-24)  # of the uniforms that the engine draws
    for p, q in PROBES.values():
        for residual in RESIDUALS:
            accepted, law = one_slot(tree, residual, p, q, torch.arange(V), smallest, 0)
            forbidden = torch.tensor(p) == 0.0
            assert not bool(accepted[forbidden].any())
            # Nor is it drawn after a refusal.
            assert float(law[~accepted][:, forbidden].sum()) == 0.0


@pytest.mark.parametrize("tree", [*LOSSY, {"is": "verifiers/exact"}], ids=name)
def test_without_drafts_everything_is_the_target_law(tree: Tree) -> None:
    laws = random_chains(6, 0)[0]
    empty = chain(torch.empty(6, 0, dtype=torch.int64), torch.empty(6, 0, V, dtype=torch.float64))
    for residual in RESIDUALS:
        verdict = verifier_of(tree).select(
            laws,
            empty,
            residual_named(residual),
            Chance(torch.empty(6, 0), None),
            places().geometry,
        )
        assert torch.equal(verdict.law, laws[:, 0])
        assert verdict.accepted.tolist() == [0] * 6
        assert verdict.path.shape == (6, 0)


def test_drafts_that_do_not_count_are_neither_kept_nor_refused() -> None:
    """Rows draft to different lengths: after its own last draft a row goes on with the target."""
    laws, proposal, _ = random_chains(4, 3)
    valid = torch.arange(3) < torch.arange(4).unsqueeze(-1)
    short = chain(proposal.tokens, laws[:, :3], valid)  # the drafts' laws are the target's own
    verdict = verifier_of({"is": "verifiers/exact"}).select(
        laws,
        short,
        residual_named("exact"),
        Chance(torch.full((4, 3), 0.5), None),
        places().geometry,
    )
    assert verdict.accepted.tolist() == [0, 1, 2, 3]
    assert torch.equal(verdict.law, laws[torch.arange(4), torch.arange(4)])


def test_a_tree_of_drafts_is_refused_with_a_way_out() -> None:
    laws, proposal, chance = random_chains(2, 2)
    tree = Proposal(proposal.tokens, proposal.laws, proposal.valid, (-1, -1))
    with pytest.raises(BadInput, match="joint rule"):
        verifier_of(amplified(2.0)).select(
            laws, tree, residual_named("exact"), chance, places().geometry
        )
