"""Warm up, stay, decay (WSD): one rate as long as data comes, and a short fall for shipping.

Equivalences: anneal 1 with the shape cosine or linear is that schedule, on one data set.
Sources: Hu et al., MiniCPM (COLM 2024, arXiv:2404.06395); `warmup_stable_decay` of Hugging Face
transformers, which with a floor also warms up from it.
"""

from __future__ import annotations

from paretoken.evaluators.training.schedule import Annealed


class WarmUpStableDecay(Annealed):
    """Needs no number of steps before the fall begins."""


plugin = WarmUpStableDecay
