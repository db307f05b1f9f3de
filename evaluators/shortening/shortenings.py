"""What depths make of one target, each asked for once, and decoding with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.components.decoders.shortened import Shortened
from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.components.drafters.fewer_layers import FewerLayers
from paretoken.evaluators.components.drafters.skip_layers import SkipLayers
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.groups import Groups
from paretoken.evaluators.models.stages import Shortening, same, whole_table
from paretoken.spaces.candidate import to_tree
from paretoken.spaces.records import Quantity
from paretoken.spaces.workload import Report

if TYPE_CHECKING:
    from paretoken.evaluators.engine.depth import Depth
    from paretoken.evaluators.shortening.school import School

# Makes a decoding of the target that was shortened so (None: as it is), for some prompts or classes
# [n] (None: for any), in so many rows.
Build = Callable[["Shortening | None", "Tensor | None", int], Decoding]


class Shortenings:
    """exact: hands out the target in float32, which depths are asked about whatever precision
    decoding has. school: where they learn, if anywhere.
    """

    def __init__(self, exact: Callable[[], Any], school: School | None) -> None:
        self._exact, self._school = exact, school
        self._known: dict[str, Shortening] = {}

    def of(self, depth: Depth) -> Shortening:
        """What a depth leaves out and changes; learnt first where it has to be."""
        written = json.dumps(to_tree(depth), sort_keys=True)
        if written not in self._known:
            with torch.inference_mode(False), torch.no_grad():
                self._known[written] = depth.kept(self._exact()), depth.adapter(self._exact())
        return self._known[written]

    def of_target(self, decoder: Speculative) -> Shortening | None:
        """What a decoder makes of the target, if that is another model then."""
        if not isinstance(decoder, Shortened):
            return None
        kept, adapter = self.of(decoder.depth)
        return None if adapter is None and kept.all() else (kept, adapter)

    def of_draft(self, decoder: Speculative) -> Shortening | None:
        """What its drafter drafts with, where that is the target without some of its layers."""
        drafter = decoder.drafter
        if isinstance(drafter, SkipLayers):
            whole = self._exact()
            return whole_table(whole.layers, whole.length, drafter.runs(whole)), None
        return self.of(drafter.depth) if isinstance(drafter, FewerLayers) else None

    def layers_run(self, decoder: Speculative) -> Quantity:
        """The share of the target's layers that a token takes, on average over prompts and places:
        what is saved before any device has its say."""
        short = self.of_target(decoder)
        shares = torch.ones(1) if short is None else short[0][:, 1:].float().mean((1, 2))
        error = float(shares.std() / len(shares) ** 0.5) if len(shares) > 1 else 0.0
        return Quantity(
            "layers_run", float(shares.mean()), error, len(shares), "fraction", False,
            detail={"spread_from": "standard error over prompts"},
        )  # fmt: skip

    def learn(self, decoder: Speculative, report: Report) -> str:
        """Have all learnt that a decoder needs; report: told how far that is. Returns a digest of
        the layers that it and its drafter are left with, "" where those are all.
        """
        if self._school is not None:
            self._school.report = report
        shorter = (self.of_target(decoder), self.of_draft(decoder))
        digests = ["whole" if one is None else digest_of_layers(one) for one in shorter]
        return "" if digests == ["whole", "whole"] else " ".join(digests)

    def decoding(
        self, decoder: Speculative, build: Build, *, prompts: int, batch: int
    ) -> Decoding | Groups:
        """A decoding of any of so many prompts; those that leave out the same layers together."""
        short, draft = self.of_target(decoder), self.of_draft(decoder)
        tables = [found[0] for found in (short, draft) if found is not None]
        if all(len(table) == 1 for table in tables) or prompts == 1:
            return build(short, None, batch)
        of_all = [table.expand(prompts, -1, -1).flatten(1) for table in tables]
        groups = same(torch.cat(of_all, -1))
        return Groups(groups, lambda some, rows: build(short, some, rows), batch)


def digest_of_layers(short: Shortening) -> str:
    """Of the layers that run for each prompt and token, and of what changes their matrices."""
    kept, adapter = short
    if bool((kept == kept[:1]).all()):
        kept = kept[:1]  # the same for all prompts, however many there are
    told = f"{list(kept.shape)}".encode() + np.packbits(kept.numpy()).tobytes()
    if adapter is not None:
        told += adapter.digest.encode()
    return xxhash.xxh3_128_hexdigest(told)
