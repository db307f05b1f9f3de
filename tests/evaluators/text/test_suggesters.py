"""Suggesters: superposition against a direct reference, beams against transformers, the law."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from paretoken.evaluators.components.decoders.superposed import superposed
from paretoken.evaluators.engine.ngrams import LONGEST, NGrams
from paretoken.evaluators.engine.suggest import Suggesting, SuggestTrace
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import MeasurementFailed

V = 13
TEXTS = [
    torch.randint(0, V, (60,), generator=torch.Generator().manual_seed(i)).tolist()
    for i in range(4)
]


def suggester(name: str, **knobs: Any) -> Any:
    return from_tree({"is": f"decoders/{name}", **knobs}, "decoders")


def suggest(
    target: Any, decoder: Any, prompts: Sequence[int] = (0, 1, 2), **asked: Any
) -> tuple[Tensor, SuggestTrace]:
    given = {"wanted": 3, "batch": 2, "seed": 0, "ngrams": lambda: NGrams.counted(V, TEXTS)} | asked
    return Suggesting(target, decoder, **given).run(torch.tensor(prompts))


def greedy(target: Any, prompt: int) -> list[int]:
    """By hand: the whole text at every token, without a cache."""
    text = target.contexts[prompt].tokens.tolist()
    said: list[int] = []
    while len(said) < target.length and not (said and said[-1] in target.ends):
        logits = target.model(input_ids=torch.tensor([text + said])).logits[0, -1]
        said.append(int(logits.argmax()))
    return said + [said[-1]] * (target.length - len(said))


def shares(texts: list[list[int]], context: list[int]) -> dict[int, float]:
    """What follows a context, by going through the texts."""
    found: Counter[int] = Counter()
    for text in texts:
        for i in range(len(text) - len(context)):
            if text[i : i + len(context)] == context:
                found[text[i + len(context)]] += 1
    return {token: count / found.total() for token, count in found.items()}


def reference(
    target: Any, decoder: Any, prompt: int, wanted: int, texts: list[list[int]]
) -> list[list[int]]:
    """Superposed decoding as its paper tells it, in lists, embeddings fed all anew every time."""
    embedding = target.model.get_input_embeddings().weight
    context = target.contexts[prompt].tokens.tolist()
    drafts: list[tuple[float, list[int]]] = [(0.0, [])]
    fed = embedding[torch.tensor(context)]
    weights = [
        decoder.bigram, decoder.trigram, decoder.four_gram, decoder.five_gram, decoder.six_gram
    ]  # fmt: skip
    for _ in range(target.length):
        law = target.model(inputs_embeds=fed.unsqueeze(0)).logits[0, -1] / decoder.temperature
        kept = law.log_softmax(-1).topk(decoder.tokens)
        own = dict(zip(kept.indices.tolist(), kept.values.log_softmax(-1).tolist(), strict=True))
        candidates = []
        for score, said in drafts:
            text, mass = context + said, dict.fromkeys(own, 0.0)
            for i, weight in enumerate(weights, 1):
                for token, share in shares(texts, text[-i:]).items() if len(text) >= i else ():
                    if token in mass:
                        mass[token] += weight * share
            for token, log_p in own.items():
                gain = log_p
                if decoder.smoothing == "geom":
                    gain = (1 - decoder.alpha) * log_p
                    if not any(mass.values()):
                        gain -= decoder.penalty
                    elif mass[token]:
                        gain += decoder.alpha * float(torch.tensor(mass[token]).double().log())
                    else:
                        gain -= 1e6
                candidates.append((score + gain, [*said, token]))
        drafts = sorted(candidates, key=lambda one: -one[0])[: max(decoder.drafts, wanted)]
        mixed = torch.tensor([score for score, _ in drafts]).double().softmax(-1)
        by_token: Counter[int] = Counter()
        for weight, (_, said) in zip(mixed.tolist(), drafts, strict=True):
            by_token[said[-1]] += weight
        point = sum(weight * embedding[token] for token, weight in by_token.items())
        fed = torch.cat([fed, point.unsqueeze(0)])
    return [said for _, said in drafts[:wanted]]


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
@pytest.mark.parametrize(
    "knobs",
    [
        {"temperature": 1.0},
        {"temperature": 0.3, "drafts": 5, "six_gram": 0.0, "alpha": 0.2, "penalty": 3.0},
        {"temperature": 2.0, "smoothing": "none", "tokens": 4},
    ],
    ids=str,
)
def test_superposed_decoding_is_what_its_paper_says(
    tiny: Any, kind: str, knobs: dict[str, Any]
) -> None:
    target, decoder = tiny(kind, length=7), suggester("superposed", **knobs)
    found, trace = suggest(target, decoder)
    with torch.inference_mode():
        for prompt, rows in enumerate(found.tolist()):
            assert rows == reference(target, decoder, prompt, 3, TEXTS)
        other = suggester("superposed", **{**knobs, "temperature": 0.1, "tokens": 5})
        assert found[2].tolist() != reference(target, other, 2, 3, TEXTS)  # it can fail
    # One stream, whatever the drafts: a forward a token.
    assert trace.forwards.tolist() == [7, 7, 7] and trace.rows == 1


def test_equal_tokens_superpose_to_themselves_and_sure_scores_to_the_best(tiny: Any) -> None:
    embedding = tiny().model.get_input_embeddings()
    same = embedding(torch.tensor([[4, 4, 4]]))
    scores = torch.tensor([[-0.1, -2.0, -7.0]], dtype=torch.float64)
    # Three weights that sum to 1 within rounding of float64.
    assert torch.allclose(superposed(same, scores), same[:, 0], rtol=0, atol=1e-15)
    three = embedding(torch.tensor([[4, 5, 6]]))
    assert torch.equal(superposed(three, 1e5 * scores), three[:, 0])
    assert not torch.allclose(superposed(three, scores), three[:, 0], atol=1e-3)


@pytest.mark.parametrize("kind", ["llama", "mistral"])
@pytest.mark.parametrize(
    "decoder",
    [
        suggester("superposed", drafts=1, smoothing="none", temperature=0.7),
        suggester("superposed", drafts=1, alpha=0.0, tokens=2),
        suggester("beam_search", width=1, length_penalty=0.0),
        suggester("branching"),
        suggester("nucleus", temperature=0.0),
    ],
    ids=lambda one: one.tag(),
)
def test_one_draft_is_greedy_decoding(tiny: Any, kind: str, decoder: Any) -> None:
    target = tiny(kind, length=12, ends=(5, 11))
    found, _ = suggest(target, decoder, wanted=1)
    with torch.inference_mode():
        assert found[:, 0].tolist() == [greedy(target, prompt) for prompt in range(3)]
    assert canonical(decoder.exactly(1)) == suggester("branching")
    assert decoder.exactly(2) != suggester("branching") or decoder == suggester("branching")


def test_two_superposed_drafts_are_not_greedy(tiny: Any) -> None:
    target = tiny(length=12)
    found, _ = suggest(target, suggester("superposed", temperature=1.0), wanted=2)
    with torch.inference_mode():
        assert found[:, 0].tolist() != [greedy(target, prompt) for prompt in range(3)]


@pytest.mark.parametrize("ends", [(), (5,), (3, 5, 11)])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_search_is_that_of_transformers(
    tiny: Any, ends: tuple[int, ...], penalty: float
) -> None:
    target = tiny(length=9, ends=ends)
    found, trace = suggest(target, suggester("beam_search", width=4, length_penalty=penalty))
    for prompt, rows in enumerate(found.tolist()):
        asked = target.contexts[prompt].tokens.unsqueeze(0)
        told = target.model.generate(
            input_ids=asked, attention_mask=torch.ones_like(asked), num_beams=4, do_sample=False,
            num_return_sequences=3, early_stopping=True, length_penalty=penalty, max_new_tokens=9,
            eos_token_id=list(ends) or None, pad_token_id=12,
        )[:, asked.shape[1] :]  # fmt: skip
        for row, other in zip(rows, told.tolist(), strict=True):
            end = next((i for i, token in enumerate(row) if token in ends), 8) + 1
            assert row[:end] == other[:end]
            assert set(row[end:]) <= {row[end - 1]}
    assert trace.rows == 4


@pytest.mark.parametrize("name", ["superposed", "beam_search", "branching", "nucleus"])
def test_suggestions_do_not_depend_on_what_stands_beside_them(tiny: Any, name: str) -> None:
    target = tiny(length=8, ends=(5,))
    together, trace = suggest(target, suggester(name), batch=3)
    alone, same = suggest(target, suggester(name), batch=1)
    assert torch.equal(together, alone) and torch.equal(trace.forwards, same.forwards)
    if name != "nucleus":  # different by construction
        assert all(len({tuple(row) for row in rows}) == 3 for rows in alone.tolist())
    if name == "branching":
        assert all(len({row[0] for row in rows}) == 3 for rows in alone.tolist())


def test_nucleus_sampling_draws_from_the_law_without_its_tail(tiny: Any) -> None:
    target, decoder = tiny(length=2), suggester("nucleus", temperature=0.9, top_p=0.8)
    rounds, wanted = 300, 16
    found, _ = suggest(target, decoder, [0] * rounds, wanted=wanted, batch=50)
    said = Counter(map(tuple, found.flatten(0, 1).tolist()))

    def law(**changed: Any) -> dict[tuple[int, ...], float]:
        rule = suggester("nucleus", **{"temperature": 0.9, "top_p": 0.8, **changed})
        text = target.contexts[0].tokens.tolist()
        with torch.inference_mode():
            first = rule.scores(target.model(input_ids=torch.tensor([text])).logits[:, -1])[0]
            whole = torch.tensor([[*text, token] for token in range(V)])
            second = rule.scores(target.model(input_ids=whole).logits[:, -1])
        return {
            (a, b): float(first[a] * second[a, b])
            for a, b in itertools.product(range(V), repeat=2)
            if first[a] * second[a, b] > 0
        }

    def p_value(expected: dict[tuple[int, ...], float]) -> float:
        if set(said) - set(expected):
            return 0.0
        n = said.total()
        common = {k: n * p for k, p in expected.items() if n * p >= 5}  # for chi-square to hold
        rest = n - sum(common.values())
        statistic = sum((said[k] - e) ** 2 / e for k, e in common.items())
        if rest >= 5:
            statistic += (n - sum(said[k] for k in common) - rest) ** 2 / rest
        return float(chi2.sf(statistic, len(common) - (rest < 5)))

    assert p_value(law()) > 1e-3
    assert p_value(law(temperature=1.1)) < 1e-9  # the negative control


def test_ngrams_are_the_shares_that_counting_finds() -> None:
    texts = [[1, 2, 3, 1, 2, 3, 1, 2, 4], [3, 1, 2, 4], [7], [], [2, 2]]
    table = NGrams.counted(9, texts)
    for context in ([1], [1, 2], [2, 3, 1], [3, 1, 2], [1, 2, 3, 1, 2], [4], [9, 1, 2], [2, 2]):
        last = torch.tensor(([9] * LONGEST + context)[: -LONGEST - 1 : -1])
        found = table.after(last, torch.arange(9))
        for i in range(1, LONGEST + 1):
            known = shares(texts, context[-i:]) if len(context) >= i else {}
            expected = [known.get(token, 0.0) for token in range(9)]
            assert found[i - 1].tolist() == pytest.approx(expected)
    again = NGrams.of(9, table.arrays)
    assert again.digest == table.digest != NGrams.counted(9, texts[:1]).digest
    nothing = NGrams.counted(9, []).after(torch.zeros(2, LONGEST).long(), torch.zeros(2, 4).long())
    assert nothing.shape == (LONGEST, 2, 4) and not nothing.any()


@pytest.mark.parametrize(
    ("knobs", "same"),
    [
        (
            {"smoothing": "none", "alpha": 0.2, "penalty": 0.0, "six_gram": 0.0},
            {"smoothing": "none"},
        ),
        ({"alpha": 0.0, "penalty": 0.0}, {"smoothing": "none"}),
        ({"smoothing": "all", "alpha": 0.2, "penalty": 0.0}, {"smoothing": "all"}),
    ],
)
def test_knobs_that_do_nothing_are_dropped(
    tiny: Any, knobs: dict[str, Any], same: dict[str, Any]
) -> None:
    one, other = (suggester("superposed", temperature=0.8, **k) for k in (knobs, same))
    assert canonical(one) == canonical(other) == other
    target = tiny(length=8)
    assert torch.equal(suggest(target, one)[0], suggest(target, other)[0])
    assert canonical(suggester("superposed", alpha=0.2)) != suggester("superposed")


def test_more_drafts_than_the_vocabulary_has_tokens_are_refused(tiny: Any) -> None:
    with pytest.raises(MeasurementFailed, match="keep fewer drafts"):
        suggest(tiny(ends=(5,)), suggester("beam_search", width=V))
