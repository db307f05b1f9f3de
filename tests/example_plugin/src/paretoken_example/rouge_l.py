"""ROUGE-L: how much of the right text an answer has, word by word and in its order; 1 is all of it.

The F-measure of the longest common subsequence of words, letters lowered and punctuation left out.
Right is what the prompt names as its answer; without one it is what plain greedy decoding answers.
Source: Lin, "ROUGE: a package for automatic evaluation of summaries" (ACL 2004 workshop).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from paretoken.evaluators.metrics.by_sample import Said, TextMetric
from paretoken.spaces.objectives import Objective


class RougeL(TextMetric):
    """Words that answer and right text share in one order."""

    objective = Objective("rouge_l", "fraction", True, "words in common with the right answer")

    def values(self, answers: Sequence[Said]) -> Sequence[float]:
        return [f_measure(said.text, said.prompt.answer or said.plain) for said in answers]


def f_measure(text: str, right: str) -> float:
    """Of two texts, from 0 to 1; of two without any word it is 1."""
    one, other = (re.findall(r"\w+", words.lower()) for words in (text, right))
    if not one or not other:
        return float(one == other)
    return 2 * common(one, other) / (len(one) + len(other))


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest subsequence that both have."""
    row = [0] * (len(other) + 1)
    for word in one:
        left = 0  # the entry up and to the left
        for i, beside in enumerate(other, 1):
            up = row[i]
            row[i] = left + 1 if word == beside else max(up, row[i - 1])
            left = up
    return row[-1]


plugin = RougeL()
