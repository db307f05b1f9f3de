"""The law level: losslessness is computed, equal rules share keys however they are written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from paretoken.cache.digest import candidate_id
from paretoken.cache.fingerprint import fingerprint
from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.verifier import SharedNoise
from paretoken.evaluators.law import TOLERANCE, Law, law_of, laws_on, per_token_law
from paretoken.evaluators.recorded_rows import RecordedRows
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.decoders import NAMED
from paretoken.spaces.records import Fingerprint
from paretoken.spaces.settings import dumps, loads
from paretoken.spaces.workload import Behaviour

VOCABULARY, ROWS = 24, 12


def rows(seed: int = 0) -> RecordedRows:
    generator = np.random.default_rng(seed)
    logits = [(2 * generator.normal(size=(ROWS, VOCABULARY))).astype(np.float16) for _ in range(3)]
    return RecordedRows(*logits, np.arange(ROWS) * 3)


def geometry() -> Geometry:
    generator = torch.Generator().manual_seed(0)
    return Geometry(
        torch.randn(VOCABULARY, 5, generator=generator),
        torch.randn(VOCABULARY, 3, generator=generator),
    )


def candidate(
    verifier: str = "exact",
    residual: str = "exact",
    window: int = 8,
    coupling: str = "none",
    sampling: dict[str, Any] | None = None,
    **knobs: Any,
) -> Any:
    drafter = {"is": "drafters/jacobi", "window": window, "coupling": coupling}
    return from_tree(
        {
            "decoder": {
                "is": "decoders/speculative",
                "drafter": drafter,
                "verifier": {"is": f"verifiers/{verifier}", **knobs},
                "residual": {"is": f"residuals/{residual}"},
            },
            "sampling": {"is": "samplings/standard", **(sampling or {})},
        }
    )


def law(of: Any, recorded: RecordedRows | None = None) -> Law:
    return law_of(of.decoder, of.sampling, geometry(), recorded or rows())


def prints(of: Any, found: Law, recorded: RecordedRows | None = None) -> Fingerprint:
    tree = to_tree(canonical(of))
    behaviour = Behaviour(
        context={"model": "toy"},
        target=found.target,
        drafting={part: tree["decoder"][part] for part in ("drafter", "length")},
        rule=found.rule,
        lossless=found.lossless,
        evidence=found.evidence,
        conditions={},
        runtime=tree["runtime"],
    )
    return fingerprint(behaviour, (recorded or rows()).dump())


def key(of: Any) -> Fingerprint:
    return prints(of, law(of))


LOSSLESS = [
    candidate(window=1, verifier="grouped", size=16),
    candidate(),
    candidate(coupling="maximal", window=16),
    candidate(coupling="gumbel", verifier="amplified", factor=4.0),
    candidate("amplified", factor=1.0),
    candidate("grouped", size=1),
    candidate("latent_neighbour", bound=0.0),
    # Stricter than exact at later slots, with the residual that makes up for it.
    candidate("annealed", "matched", delta=1.0, nu=0.7),
]
LOSSY = [
    candidate("amplified", factor=1.5),
    candidate("amplified", factor=2.0),
    candidate("amplified", "group", factor=2.0),
    candidate("annealed", delta=1.5, nu=0.7),
    candidate("annealed", "exact", delta=1.0, nu=0.7),  # stricter, and nothing makes up for it
    candidate("grouped", size=4, probability=1.0),
    candidate("grouped", "group", size=4, probability=1.0, source="blocks"),
    candidate("latent_neighbour", k=5, bound=0.2),
    candidate("latent_neighbour", k=5, bound_kind="multiplicative", bound=2.0),
]


@pytest.mark.parametrize("of", LOSSLESS, ids=str)
def test_what_emits_the_targets_law_is_found_to_do_so(of: Any) -> None:
    found = law(of)
    assert found.lossless
    assert key(of).quality == key(candidate(window=1)).quality


@pytest.mark.parametrize("of", LOSSY, ids=str)
def test_what_does_not_is_found_out(of: Any) -> None:
    found = law(of)
    assert not found.lossless
    assert found.evidence["largest_difference"] > 1e3 * TOLERANCE


def test_the_named_decoders_that_say_so_are_lossless() -> None:
    lossless = {
        name
        for name, named in NAMED.items()
        if law(canonical(from_tree({"decoder": named.tree}))).lossless
    }
    assert lossless == {name for name, named in NAMED.items() if "lossless" in named.doc} | {
        "plain", "sjd-gumbel"
    }  # fmt: skip


def test_lossy_rules_all_have_keys_of_their_own() -> None:
    keys = [key(of) for of in LOSSY]
    for grid in (0, 1):
        assert len({found.quality[grid] for found in keys}) == len(LOSSY)
        assert len({found.work[grid] for found in keys}) == len(LOSSY)


def test_a_verifiers_floats_are_no_key_without_window_and_coupling() -> None:
    """Groups of 16 are plain decoding at window 1, and far from it at window 16."""
    alone, ahead = (candidate("grouped", window=w, size=16, probability=1.0) for w in (1, 16))
    assert alone.decoder.verifier == ahead.decoder.verifier
    assert key(alone).quality == key(candidate(window=1)).quality
    assert key(ahead).quality != key(alone).quality
    nearer = candidate("grouped", window=8, size=16, probability=1.0)
    assert np.array_equal(law(nearer).target[0], law(ahead).target[0])
    assert key(nearer).quality != key(ahead).quality  # the same floats, another window
    shared = candidate("grouped", window=16, size=16, probability=1.0, coupling="gumbel")
    assert key(shared).quality == key(alone).quality
    maximal = candidate("grouped", window=16, size=16, probability=1.0, coupling="maximal")
    assert len({key(of).quality for of in (ahead, maximal)}) == 2


def test_the_target_law_is_told_by_floats() -> None:
    plain = candidate(window=1)
    same = [{"top_k": VOCABULARY}, {"top_k": 500}, {"cfg": 1.0, "cfg_interval": 3}]
    for sampling in same:
        assert key(candidate(window=1, sampling=sampling)).quality == key(plain).quality
    others = [
        {"temperature": 0.9}, {"temperature": 0.0}, {"top_k": 5}, {"top_p": 0.9}, {"cfg": 1.5},
        {"cfg": 1.5, "cfg_interval": 3},
    ]  # fmt: skip
    keys = {key(candidate(window=1, sampling=sampling)).quality for sampling in others}
    assert len(keys | {key(plain).quality}) == len(others) + 1


def test_work_is_equal_only_where_drafts_and_runtime_are() -> None:
    exact, maximal = candidate(), candidate(coupling="maximal")
    assert key(exact).quality == key(maximal).quality
    assert key(exact).work != key(maximal).work
    assert key(exact).work == key(candidate("amplified", factor=1.0)).work
    batched = exact.clone(override={"runtime.batch": 64})
    assert key(batched).quality == key(exact).quality
    assert key(batched).work != key(exact).work


def test_a_component_a_plain_function_and_a_settings_file_share_their_keys() -> None:
    component = candidate("amplified", factor=2.0)
    expected = key(component)

    def twice_as_likely(p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor) -> Tensor:
        return (p.gather(-1, tokens) * 2 / q.gather(-1, tokens)).clamp(max=1.0).nan_to_num(nan=0.0)

    def rest(p: Tensor, q: Tensor, slot: Tensor) -> Tensor:
        short = (p - q).clamp(min=0)
        total = short.sum(-1, keepdim=True)
        return torch.where(total > 0, short / total, p)

    p, q = laws_on(component.sampling, rows())
    function = per_token_law(twice_as_likely, rest, p, q, drafts=7)
    assert prints(component, function) == expected
    read = from_tree(loads(json.dumps(json.loads(dumps(to_tree(component))), indent=4)))
    assert key(read) == expected

    def slightly_more(p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor) -> Tensor:
        return (p.gather(-1, tokens) * 2.001 / q.gather(-1, tokens)).clamp(max=1.0).nan_to_num(0.0)

    other = prints(component, per_token_law(slightly_more, rest, p, q, drafts=7))
    assert not set(other.quality) & set(expected.quality)  # a control that must differ


def test_the_conclusions_of_canonical_forms_hold() -> None:
    """Whatever canonicalisation calls equal has equal floats: each rule is tested by the next."""
    for of in (*LOSSLESS, *LOSSY):
        simplest = canonical(of)
        assert prints(of, law(of)) == prints(of, law(simplest))
        assert candidate_id(to_tree(canonical(simplest))) == candidate_id(to_tree(simplest))


def test_a_joint_rule_is_believed_only_while_its_source_is_the_one_that_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = candidate(coupling="gumbel")
    assert law(of).evidence["lossless"] == "claimed"
    monkeypatch.setattr(SharedNoise, "passed", "0123456789abcdef")
    found = law(of)
    assert not found.lossless and found.evidence["lossless"] == "no"
    assert prints(of, found).quality != key(candidate()).quality


def test_a_wrong_residual_is_not_called_lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    def target_itself(self: object, p: Tensor, q: Tensor, ratio: object) -> Tensor:
        return p

    monkeypatch.setattr(ExactResidual, "law", target_itself)
    assert not law(candidate()).lossless


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_reruns_give_the_same_keys(threads: int) -> None:
    expected = [key(of) for of in LOSSY]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert [key(of) for of in LOSSY] == expected
    finally:
        torch.set_num_threads(before)


def test_recorded_rows_survive_storage_and_damage_is_told() -> None:
    kept = rows()
    again = RecordedRows.load(kept.dump())
    assert np.array_equal(again.draft, kept.draft) and again.dump() == kept.dump()
    from paretoken.spaces.errors import Unreadable

    with pytest.raises(Unreadable, match="recorded rows"):
        RecordedRows.load(kept.dump()[:100])


def test_other_rows_are_another_context() -> None:
    of = candidate("amplified", factor=2.0)
    one, other = (prints(of, law(of, rows(seed)), rows(seed)) for seed in (0, 1))
    assert one.context != other.context and one.quality != other.quality
