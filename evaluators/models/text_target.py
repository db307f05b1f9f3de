"""Any Hugging Face causal language model as the decoding engine drives it.

A row begins with its prompt: all of it but the last token is read into the cache, the last one is
pending. Plain decoding and every decoder read the prompt alike, so that they round alike.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from paretoken.evaluators.engine.tree import Tree
from paretoken.evaluators.engine.trigrams import Trigrams
from paretoken.evaluators.models.attention import repeatable_attention
from paretoken.evaluators.models.cropped_caches import CroppedCaches
from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.models.layered import Layered, Replace
from paretoken.evaluators.models.likeness import likeness
from paretoken.evaluators.models.row_cache import RowCache
from paretoken.evaluators.models.stages import Shortening
from paretoken.spaces.errors import BadInput, MeasurementFailed

if TYPE_CHECKING:
    from paretoken.evaluators.engine.depth import Depth
    from paretoken.evaluators.shortening.school import School

_Kept = tuple[Tensor, Tensor]  # states [B, slots, D], and the rows [b] of them that are fed

# Windows overhang the end of a sample by less than this, and so do trees.
_OVERHANG = 128


@dataclass(frozen=True)
class Context:
    """A prompt in tokens [P] int64, P >= 2; source: the part of it that the answer may copy."""

    tokens: Tensor
    source: tuple[int, int]


class TextTarget(Layered):
    """A language model with its prompts; see `paretoken.evaluators.engine.target.Target`.

    contexts: prompt i is class i. length: tokens of an answer at most. ends: tokens that end one.
    draft: another model for the same tokens, that small drafts come from. trigrams: hands out the
    table of a corpus, that looked-up drafts come from; passages: some of its text in tokens.
    head: drafts from this model's states. school: where depths learn about its layers.
    shortening: what a depth makes of the model, which is asked of it in float32.
    """

    modality: ClassVar[str] = "text"

    def __init__(
        self,
        model: Any,
        contexts: Sequence[Context],
        *,
        length: int,
        ends: tuple[int, ...],
        device: torch.device,
        dtype: torch.dtype,
        draft: Any = None,
        trigrams: Callable[[], Trigrams] = Trigrams.none,
        passages: Callable[[], list[Tensor]] = list,
        head: DraftHead | None = None,
        school: School | None = None,
        shortening: Callable[[Depth], Shortening] | None = None,
    ) -> None:
        self._school, self._shortening = school, shortening
        self.trigrams, self._passages, self._head = trigrams, passages, head
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.contexts, self.length, self.ends = tuple(contexts), length, ends
        self.device, self.dtype, self._draft = device, dtype, draft
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self.width = length  # text is one line
        self._by_place = self.capturable = _keeps_every_place(model.config, self._slots)
        parameters = inspect.signature(model.forward).parameters
        # The name since transformers 5.2x, and the one before.
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}

    @property
    def _slots(self) -> int:
        return max(len(context.tokens) for context in self.contexts) + self.length + _OVERHANG

    def begin(self, classes: Tensor, rows: Tensor, cache: RowCache | CroppedCaches) -> Tensor:
        """Read prompts [n] into rows [n]; returns the last token of each."""
        pending = []
        for prompt, row in zip(classes.tolist(), rows.tolist(), strict=True):
            tokens = self.contexts[prompt].tokens.to(self.device)
            cache.offset[row] = len(tokens) - 1
            read = tokens[:-1].unsqueeze(0)
            if isinstance(cache, RowCache):
                places = torch.arange(read.shape[1], device=self.device).unsqueeze(0)
                at = torch.tensor([row], device=self.device)
                cache.point(at, places, read.shape[1])
                kept = self._keeping(cache, at)
                self._run(read, places, cache, cache.mask(self.dtype), kept, **self._last_only)
            else:
                self._run_row(row, 0, read, cache, **self._last_only)
            pending.append(tokens[-1])
        return torch.stack(pending)

    def allocate(self, batch: int, guided: bool) -> RowCache | CroppedCaches:
        """A cache for `batch` rows."""
        if guided:
            raise MeasurementFailed(
                "unsupported",
                "language models have no unconditional twin: leave sampling.cfg at 1 "
                "(--set sampling.cfg=1).",
            )
        if self._by_place:
            return RowCache(batch, self._slots, self.device)
        return CroppedCaches(batch, self.model.config, self.device)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: RowCache | CroppedCaches,
        guided: bool,
        tree: Tree | None = None,
    ) -> tuple[Tensor, None]:
        """Logits [B, W, V] float32 (or wider) after tokens [B, W] fed at positions [B] on.

        In place of tokens there may be embeddings [B, W, D], which need not be any token's.
        """
        if tree is not None:
            return self._forward_tree(tokens, positions, cache, tree), None
        window = tokens.shape[1]
        start = cache.offset + positions
        if isinstance(cache, RowCache):
            places = start.unsqueeze(-1) + torch.arange(window, device=self.device)
            longest = cache.slots
            if self.device.type == "cpu":  # reading the positions would stop a CUDA stream
                longest = int(start.max()) + window
            cache.point(None, places, longest)
            every = torch.arange(len(tokens), device=self.device)
            kept = self._keeping(cache, every)
            logits = self._run(tokens, places, cache, cache.mask(self.dtype), kept)
        else:
            each = zip(start.tolist(), torch.split(tokens, 1), strict=True)
            logits = torch.cat([self._run_row(i, at, w, cache) for i, (at, w) in enumerate(each)])
        return (logits if logits.dtype == torch.float64 else logits.float()), None

    def _forward_tree(
        self, tokens: Tensor, positions: Tensor, cache: RowCache | CroppedCaches, tree: Tree
    ) -> Tensor:
        _check_tree(cache, tree, type(self.model).__name__)
        assert isinstance(cache, RowCache)
        start = cache.offset + positions
        end = tree.sees.shape[1]
        places = start.unsqueeze(-1) + torch.arange(tree.first, end, device=self.device)
        longest = int(start.max()) + end if self.device.type == "cpu" else cache.slots
        cache.point(None, places, longest)
        seen = start.unsqueeze(-1) + tree.depth
        logits = self._run(tokens, seen, cache, cache.tree_mask(start, tree, self.dtype))
        return logits if logits.dtype == torch.float64 else logits.float()

    def keep(self, path: Tensor, positions: Tensor, cache: RowCache | CroppedCaches) -> None:
        """Keys and values of nodes path [B, levels] go where a chain would have put them."""
        assert isinstance(cache, RowCache)
        cache.move(cache.offset + positions + 1, path)

    def keep_states(self, cache: RowCache | CroppedCaches) -> Tensor:
        """From here on the states of all tokens that are fed, by place: [B, slots, D], in `cache`.

        A state is what the output layer reads. Those of a row are right up to its position. Trees
        keep none.
        """
        shape = (len(cache.offset), self._slots, self.width_of_states)
        cache.states = torch.zeros(shape, dtype=self.dtype, device=self.device)
        return cache.states

    def _keeping(self, cache: RowCache | CroppedCaches, rows: Tensor) -> _Kept | None:
        return None if cache.states is None else (cache.states, rows)

    def _run(
        self,
        tokens: Tensor,
        places: Tensor,
        cache: Any,
        mask: Tensor | None,
        kept: _Kept | None = None,
        **more: Any,
    ) -> Tensor:
        """Logits; states go where `kept` says."""
        what = "inputs_embeds" if tokens.is_floating_point() else "input_ids"
        if kept is not None:
            more["output_hidden_states"] = True
        with repeatable_attention():
            found = self.model(
                **{what: tokens}, position_ids=places, attention_mask=mask, use_cache=True,
                **{self._cache_name: cache}, **more,
            )  # fmt: skip
        if kept is not None:
            states, rows = kept
            states[rows.unsqueeze(-1), places] = found.hidden_states[-1]
        logits: Tensor = found.logits
        return logits

    def _run_row(
        self, row: int, start: int, tokens: Tensor, caches: CroppedCaches, **more: Any
    ) -> Tensor:
        places = torch.arange(start, start + tokens.shape[1], device=self.device).unsqueeze(0)
        cache = caches.at(row, start, tokens.shape[1])
        kept = self._keeping(caches, torch.tensor([row], device=self.device))
        return self._run(tokens, places, cache, None, kept, **more)

    def small(self) -> TextTarget:
        """The second model, on the same prompts; raises BadInput where there is none."""
        if self._draft is None:
            raise BadInput(
                "drafters/small_model needs a second model of the same tokens: name it with "
                "--option draft=PATH."
            )
        return self._with(self._draft)

    def head(self) -> DraftHead:
        """The trained head; fails a candidate where there is none."""
        if self._head is None:
            raise MeasurementFailed(
                "unsupported",
                "drafters/head needs a draft head that was trained for this model: name it with "
                "--option head=FILE, or use another drafter.",
            )
        return self._head

    def shortening(self, depth: Depth) -> Shortening:
        """What a depth leaves out, and what it changes."""
        if self._shortening is not None:
            return self._shortening(depth)
        return depth.kept(self), depth.adapter(self)

    def shortened(self, depth: Depth, prompts: Tensor | None = None) -> TextTarget:
        """The model that a depth makes of it, for some prompts [n] or for all."""
        from paretoken.evaluators.models.shortened_target import ShortenedTarget

        return ShortenedTarget(self, *self.shortening(depth), prompts)

    def with_layers(self, kept: Sequence[int]) -> TextTarget:
        """The same model with only some of its layers, in their order; the weights are shared."""
        return self._with(self.model_of(lambda layers: [layers[i] for i in kept]))

    def model_of(self, choose: Replace) -> Any:
        body_name = self.model.base_model_prefix
        body = getattr(self.model, body_name, None)
        if not isinstance(getattr(body, "layers", None), torch.nn.ModuleList):
            raise MeasurementFailed(
                "unsupported",
                f"{type(self.model).__name__} does not keep its layers in a list called 'layers', "
                "so some of them cannot be left out: use another drafter, or decoders/speculative.",
            )
        model, body = _shallow(self.model), _shallow(body)
        config = copy.copy(self.model.config)
        body._modules["layers"] = torch.nn.ModuleList(choose(body.layers))
        config.num_hidden_layers = len(body.layers)
        body.config = config
        model._modules[body_name] = body
        return model

    @cached_property
    def likeness(self) -> tuple[Tensor, Tensor]:
        """How little each layer changes the prompts [P, L] and passages of the corpus [n, L]."""
        prompts = [context.tokens for context in self.contexts]
        return likeness(self, prompts), likeness(self, self._passages())

    def read(self, model: Any, prompt: int) -> None:
        """Let a model, one of `model_of`, read a prompt."""
        tokens = self.contexts[prompt].tokens.unsqueeze(0).to(self.device)
        model.base_model(input_ids=tokens, use_cache=False)

    @property
    def asked(self) -> int:
        """How many prompts there are."""
        return len(self.contexts)

    @property
    def width_of_states(self) -> int:
        """Numbers of a token's state between two layers."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return int(self.model.config.get_text_config().num_hidden_layers)

    def _with(self, model: Any) -> TextTarget:
        return TextTarget(
            model, self.contexts, length=self.length, ends=self.ends, device=self.device,
            dtype=self.dtype,
        )  # fmt: skip


def _shallow(module: Any) -> Any:
    """A module of its own that shares all parts and weights."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _check_tree(cache: RowCache | CroppedCaches, tree: Tree, model: str) -> None:
    nodes = tree.sees.shape[1] - 1
    if isinstance(cache, CroppedCaches):
        reason = f"{model} has layers that do not attend to all places, and cannot look at a tree"
    elif nodes >= _OVERHANG:
        reason = f"a tree of {nodes} drafts is too large: {_OVERHANG - 1} have room in the cache"
    else:
        return
    raise MeasurementFailed(
        "unsupported",
        f"{reason}: draft less at a time (--set decoder.drafts=1, or a smaller decoder.window).",
    )


def _keeps_every_place(config: Any, slots: int) -> bool:
    """Whether every layer attends to all places that there can be."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    window = getattr(text, "sliding_window", None)
    if window is not None and getattr(text, "use_sliding_window", True) and window < slots:
        return False
    reaches = window is not None and window >= slots
    return kinds <= ({"full_attention", "sliding_attention"} if reaches else {"full_attention"})
