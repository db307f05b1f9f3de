"""WordPiece: the longest piece that fits, from left to right; a word that does not fit is unknown.

Hugging Face's trainer chooses pieces as BPE does (it is BPE with a mark on what goes on with a
word), so that beside `bpe` this compares two ways of cutting and not two objectives; the published
objective is `swe` with `objective=ratio`. The alphabet is there twice, with the mark and without.
Source: Schuster and Nakajima (ICASSP 2012); Wu et al. (2016, arXiv:1609.08144).
"""

from __future__ import annotations

from typing import Any

from paretoken.evaluators.subwords.cutting import JOINER, UNKNOWN
from paretoken.evaluators.subwords.subword import Subword, Text

# A longer word would be unknown as a whole; runs of spaces and rulers of dashes are long.
_LONGEST_WORD = 10_000


class WordPiece(Subword):
    """Greedy cutting; has no bytes to fall back on."""

    @property
    def extra(self) -> tuple[str, ...]:
        return (UNKNOWN,)

    def basis(self, text: Text) -> int:
        return 2 * len(text.alphabet)

    def model(self, text: Text, room: int) -> Any:
        from tokenizers import Tokenizer, models, trainers

        alphabet = text.alphabet
        marked = [JOINER + character for character in alphabet]
        trained = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        if (normalizer := text.cutting.normalizer()) is not None:
            trained.normalizer = normalizer
        trained.pre_tokenizer = text.cutting.pre_tokenizer()
        # Marked characters that it is told of keep their order; of those that it finds by itself
        # the order changes from run to run, and with it which of two equal pairs is merged.
        trainer = trainers.WordPieceTrainer(
            vocab_size=room, initial_alphabet=list(alphabet), special_tokens=marked,
            continuing_subword_prefix=JOINER, show_progress=False,
        )  # fmt: skip
        trained.train_from_iterator(text.documents, trainer)
        found = sorted(trained.get_vocab().items(), key=lambda one: one[1])
        known = {*self.extra, *alphabet, *marked}
        pieces = [*self.extra, *alphabet, *marked, *(p for p, _ in found if p not in known)]
        return models.WordPiece(
            {piece: entry for entry, piece in enumerate(pieces)}, unk_token=UNKNOWN,
            max_input_chars_per_word=_LONGEST_WORD, continuing_subword_prefix=JOINER,
        )  # fmt: skip

    def decoder(self) -> Any:
        return self.cutting.decoder(joined=True)


plugin = WordPiece
