"""BPE: merge the pair of neighbours that is met most often, again and again.

Merges of a smaller vocabulary are the first ones of a larger.
Equivalences: with `words=byte_level` every byte has a piece, so `byte_fallback` does nothing; at
256 entries it is plain bytes. A normaliser that changes nothing in the text is none.
Source: Sennrich, Haddow and Birch (ACL 2016, arXiv:1508.07909), trained by Hugging Face tokenizers.
"""

from __future__ import annotations

import json
from typing import Any

from paretoken.evaluators.subwords.subword import Subword, Text, by_merges
from paretoken.spaces.component import knob


class Bpe(Subword):
    """Merges by how often, applied in the order in which they were learnt."""

    byte_fallback: bool = knob(False, doc="Write what has no piece as its bytes.")

    def model(self, text: Text, room: int) -> Any:
        from tokenizers import Tokenizer, models, trainers

        trained = Tokenizer(models.BPE())
        if (normalizer := text.cutting.normalizer()) is not None:
            trained.normalizer = normalizer
        trained.pre_tokenizer = text.cutting.pre_tokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=room, initial_alphabet=list(text.alphabet), show_progress=False
        )
        trained.train_from_iterator(text.documents, trainer)
        merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
        return by_merges(text.alphabet, merges, self.extra)


plugin = Bpe
