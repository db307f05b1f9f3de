"""The auxiliary model of coarse-to-fine prediction: all codes of an image, given its clusters.

LlamaGen's transformer over clusters in place of codes; what it says at a token is of that token,
not of the next. It is read in one pass, with attention to everything or to nothing ahead.
Source: Guo et al. (2025, arXiv:2503.16194), who do not say how it attends or whether it is masked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig

# A logit of what is forbidden: no mass in float32, and a number still where two of them are guided.
FORBIDDEN = -1e30


class Auxiliary(Transformer):
    """config.vocabulary: codes. It holds the partition with its weights.

    attention: "full" or "causal". masked: whether codes outside of the cluster are forbidden.
    by_rank: whether places in the cluster are predicted, which knows no codes outside.
    """

    labels: Tensor
    rank: Tensor

    def __init__(
        self,
        config: TransformerConfig,
        partition: Partition,
        *,
        attention: str,
        masked: bool,
        by_rank: bool,
    ) -> None:
        super().__init__(config)
        self._causal, self._masked, self._by_rank = attention == "causal", masked, by_rank
        self.tok_embeddings = nn.Embedding(len(partition), config.dim)
        if by_rank:
            self.output = nn.Linear(config.dim, int(partition.sizes.max()), bias=False)
        self.register_buffer("labels", torch.from_numpy(partition.labels.copy()))
        self.register_buffer("rank", torch.from_numpy(partition.rank.copy()))

    @property
    def proper(self) -> bool:
        """Whether it gives no mass to codes outside of the cluster."""
        return self._masked or self._by_rank

    def of_clusters(self, coarse: Tensor, classes: Tensor) -> Tensor:
        """Logits [B, T, V] of the codes, given clusters [B, T] under classes [B], float32 or
        wider."""
        tokens = self.tok_embeddings(coarse)
        x = torch.cat([self.condition(classes), tokens], dim=1)
        factors = self.rotary[: x.shape[1]]
        for block in self.layers:
            x = block(x, factors, self._attend)
        logits = self._wide(self.output(self.norm(x[:, 1:])))
        if self._by_rank:
            logits = logits.index_select(-1, self.rank)
        if self.proper:
            logits = logits.masked_fill(self.labels != coarse.unsqueeze(-1), FORBIDDEN)
        return logits

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Logits [B, T, V] of codes [B, T], given their true clusters."""
        return self.of_clusters(self.labels[tokens], classes)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=self._causal)
