"""Small language models: one whose laws are known exactly, and real ones with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.conformance.told_laws import ToldLaws
from paretoken.evaluators.engine.decode import Decoding, Trace
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.trigrams import Trigrams
from paretoken.evaluators.models.cropped_caches import CroppedCaches
from paretoken.evaluators.models.draft_head import DraftHead, HeadConfig
from paretoken.evaluators.models.text_target import Context, TextTarget
from paretoken.search.cli.main import main
from paretoken.spaces.candidate import from_tree

torch.set_num_threads(1)

transformers = pytest.importorskip("transformers", reason="needs pip install 'paretoken[text]'")


def decode(
    target: Any,
    decoder: dict[str, Any],
    prompts: Tensor,
    *,
    batch: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, Trace]:
    """Answers [n, N] to prompts [n] under a decoder given as a tree, in float64."""
    candidate = from_tree(
        {
            "decoder": {"is": "decoders/speculative", **decoder},
            "sampling": {"is": "samplings/standard", "temperature": temperature},
        }
    )
    rows = torch.arange(float(target.vocabulary)).unsqueeze(-1)  # distances that nobody asks for
    decoding = Decoding(
        target, candidate.decoder, candidate.sampling, Geometry(rows, rows), batch=batch, seed=seed,
        dtype=torch.float64,
    )  # fmt: skip
    return decoding.run(prompts)


@pytest.fixture
def answer() -> Callable[..., tuple[Tensor, Trace]]:
    return decode


@pytest.fixture
def toy() -> ToldLaws:
    return ToldLaws(3, 4)


_SHAPE: dict[str, Any] = {
    "vocab_size": 13,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.6,  # laws with a clear favourite, that differ from place to place
    "bos_token_id": 0,
    "eos_token_id": 12,
    "pad_token_id": 12,
    "tie_word_embeddings": False,
}


def tiny_model(kind: str = "llama", seed: int = 0, **changed: Any) -> Any:
    """A model with random weights: every layer over all places, or (mistral) over the last 8.

    gpt2 keeps its layers in a place of its own, and its positions in a table.
    """
    torch.manual_seed(seed)
    shape = _SHAPE | changed
    if kind == "mistral":
        config = transformers.MistralConfig(**shape, sliding_window=8)
        return transformers.MistralForCausalLM(config).double().eval()
    if kind == "gpt2":
        renamed = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer"}
        renamed["num_attention_heads"] = "n_head"
        asked = {renamed.get(name, name): value for name, value in shape.items()}
        for unknown in ("intermediate_size", "num_key_value_heads"):
            asked.pop(unknown, None)
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**asked)).double().eval()
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape)).double().eval()


def random_head(model: Any, seed: int = 0) -> DraftHead:
    """A draft head that was never trained, and is sure of what it says."""
    torch.manual_seed(seed)
    head = DraftHead(HeadConfig.of(model))
    head.initialise(torch.randn(99, head.config.width))
    for parameter in head.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return head.eval().requires_grad_(False)


def tiny_target(kind: str = "llama", length: int = 24, ends: tuple[int, ...] = ()) -> TextTarget:
    """Three prompts of unequal length; a second model and a head to draft with."""
    generator = torch.Generator().manual_seed(1)
    contexts = [
        Context(torch.randint(0, 12, (size,), generator=generator), (2, size - 1))
        for size in (5, 9, 17)
    ]
    corpus = Trigrams.counted(13, torch.randint(0, 13, (9, 99), generator=generator).tolist())
    model = tiny_model(kind)
    target = TextTarget(
        model, contexts, length=length, ends=ends, device=torch.device("cpu"),
        dtype=torch.float64, draft=tiny_model(kind, seed=5, num_hidden_layers=1),
        trigrams=lambda: corpus, passages=lambda: [context.tokens for context in contexts],
        head=random_head(model),
    )  # fmt: skip
    assert isinstance(target.allocate(1, False), CroppedCaches) == (kind == "mistral")
    return target


@pytest.fixture
def tiny() -> Callable[..., TextTarget]:
    return tiny_target


@pytest.fixture(scope="session")
def three_tokens() -> TextTarget:
    """A tiny model of three tokens with a random head: 81 answers of four tokens."""
    model = tiny_model(vocab_size=3, eos_token_id=2, pad_token_id=2)
    return TextTarget(
        model, [Context(torch.tensor([0, 1, 2]), (0, 0))], length=4, ends=(),
        device=torch.device("cpu"), dtype=torch.float64, head=random_head(model),
    )  # fmt: skip


def save(folder: Path, kind: str = "llama") -> Path:
    """A folder as Hugging Face's: a tiny model whose tokens are bytes, with its tokenizer."""
    import tokenizers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*alphabet, "<end>"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>"
    ).save_pretrained(folder)
    end = vocabulary["<end>"]
    model = tiny_model(
        kind, vocab_size=len(vocabulary), eos_token_id=end, pad_token_id=end, initializer_range=0.3
    )
    model.float().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def saved_gpt2(tmp_path: Path) -> Path:
    return save(tmp_path / "gpt2", "gpt2")


@pytest.fixture
def prompts_file(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    lines = [
        {"id": f"{kind}-{i}", "kind": kind, "prompt": f"Say {kind} {i}.", "source": "a b a b"}
        for kind in ("chat", "rewrite")
        for i in range(2)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    saved: Path, prompts_file: Path,
) -> Any:  # fmt: skip
    """Searches the whole text space, narrowed by settings; returns the candidates measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOKEN_STORE", "sqlite:///text.db")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def search(
        *settings: str,
        model: Path = saved,
        trials: int = 4,
        space: str = "",
        options: tuple[str, ...] = (),
    ) -> list[dict[str, Any]]:
        narrow = [word for setting in settings for word in ("--set", setting)]
        narrow += ["--space", space] if space else []
        named = [f"model={model}", f"prompts={prompts_file}", "tokens=12", *options]
        code = main(
            ["search", "text", "--study", "s", "--trials", str(trials), "--samples", "4",
             "--device", "cpu", "--observations", "1",
             *(word for o in named for word in ("--option", o)), *narrow]
        )  # fmt: skip
        assert code == 0, capsys.readouterr().err
        capsys.readouterr()
        assert main(["front", "s", "--all", "--json"]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["trials"]
        return found

    return search
