"""Exporters: what is written says what the candidate says, and the rest is refused by its code."""

from __future__ import annotations

import argparse
import copy
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from paretoken.search.exporting.artefact import SIDECAR, Artefact, check, make
from paretoken.search.exporting.provenance import Chosen
from paretoken.search.exporting.refusal import Code, Refused
from paretoken.search.exporting.schemas import breaches, load
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Environment, Quantity, StudyInfo, Trial
from paretoken.spaces.settings import Tree, loads

CUDA = Environment("cuda NVIDIA H100", "paretoken 0.1.0, torch 2.14.1", "abc1234")
SPEED = Objective("tokens_per_s", "tokens/s", True, "")


def tree(decoder: dict[str, Any], *, batch: int = 1, dtype: str = "auto", **law: Any) -> Tree:
    """The stored tree of a candidate; parts by name, or by name with knobs: greedy unless said."""

    def named(part: str, given: Any) -> dict[str, Any]:
        given = {"is": given} if isinstance(given, str) else given
        return {**given, "is": f"{part}s/{given['is']}"}

    kind = decoder.get("is", "speculative")
    parts = {part: named(part, given) for part, given in decoder.items() if part != "is"}
    found: Tree = to_tree(
        canonical(
            from_tree(
                {
                    "decoder": {"is": f"decoders/{kind}", **parts},
                    "sampling": {"is": "samplings/standard", "temperature": 0.0, **law},
                    "runtime": {"is": "runtimes/local", "batch": batch, "dtype": dtype},
                }
            )
        )
    )
    return found


def trial(settings: Tree, number: int = 1, speed: float = 10.0, spread: float = 0.1) -> Trial:
    measured = {"tokens_per_s": Quantity("tokens_per_s", speed, spread, 5, "tokens/s")}
    return Trial(number, f"{number:032x}", settings, (), "done", measured, environment=CUDA)


def chosen(settings: Tree, workload: str = "text", **options: Any) -> Chosen:
    study = StudyInfo("s", workload, "grid", 0, {}, (SPEED,), options, "")
    return Chosen(study, trial(settings), "2026-01-01T00:00:00+00:00", trial(tree({}), 0, 5.0))


def export(target: str, of: Chosen, **asked: Any) -> Artefact:
    """What the exporter `target` makes of it."""
    return make(KINDS["exporters"].load(target), of, **asked)


LOOKUP = {"is": "prompt_lookup", "window": 8, "ngram": 3, "which": "first"}
LATEST = {"is": "prompt_lookup", "window": 8, "ngram": 1, "which": "latest"}
SMALL = {"is": "small_model", "window": 5}
EARLY = {"is": "early_layers", "window": 4, "layers": 6}
JACOBI = {"is": "jacobi", "window": 16, "init": "random", "coupling": "none"}
GROUPED = {"is": "grouped", "size": 14, "probability": 0.15, "distance": 1.0, "source": "target"}
SAMPLED = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
DRAFT = {"draft": "/models/small", "model": "/models/large"}


# ------------------------------------------------------------ reading with the engines' own syntax


def flattened(text: str) -> list[str]:
    """A YAML file as the arguments that vLLM and SGLang make of it: mappings as JSON."""
    words: list[str] = []
    for key, value in yaml.safe_load(text).items():
        if value is True:
            words.append(f"--{key}")
        else:
            words += [f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def parsed(words: list[str], switches: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    """Arguments as argparse reads them; types by name, where a hyphen is an underscore."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for name, kind in types.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, type=kind)
        if "_" in name:
            parser.add_argument(f"--{name}", dest=name, type=kind)
    for name in switches:
        parser.add_argument(f"--{name}", action="store_true")
    found = vars(parser.parse_args(words))
    return {
        name: value for name, value in found.items() if value is not None and value is not False
    }


def law_of(settings: Any) -> dict[str, Any]:
    return {k: settings["sampling"][k] for k in ("temperature", "top_k", "top_p")}


@pytest.mark.parametrize("law", [{}, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("window", [2, 5, 17])
@pytest.mark.parametrize("ngram", [1, 4])
def test_prompt_lookup_is_the_same_for_every_engine_that_has_it(
    law: dict[str, Any], window: int, ngram: int
) -> None:
    """draft length = window - 1, longest n-gram, first occurrence, and the sampling law."""
    settings = tree({"drafter": {**LOOKUP, "window": window, "ngram": ngram}}, **law)
    of = chosen(settings)

    words = flattened(export("vllm", of).files()["vllm.yaml"])
    kinds = {
        "speculative_config": json.loads, "override_generation_config": json.loads,
        "generation_config": str, "dtype": str,
    }  # fmt: skip
    found = parsed(words, **kinds)
    assert found["speculative_config"] == {
        "method": "ngram", "num_speculative_tokens": window - 1, "prompt_lookup_min": 1,
        "prompt_lookup_max": ngram,
    }  # fmt: skip
    neutral = {"min_p": 0.0, "repetition_penalty": 1.0}
    assert found["override_generation_config"] == law_of(settings) | neutral
    assert found["dtype"] == "bfloat16" and found["generation_config"] == "vllm"

    hf = json.loads(export("transformers", of).files()["generation_config.json"])
    assert hf.pop("prompt_lookup_num_tokens") == window - 1
    assert hf.pop("max_matching_ngram_size") == ngram
    assert hf == ({"do_sample": True} | law_of(settings) if law else {"do_sample": False})

    made = export("tensorrt_llm", of)
    trt = yaml.safe_load(made.files()["trtllm.yaml"])["speculative_config"]
    assert trt == {
        "decoding_type": "NGram", "max_draft_len": window - 1, "max_matching_ngram_size": ngram,
        "is_keep_all": True, "is_use_oldest": True, "is_public_pool": False,
    }  # fmt: skip
    assert made.sidecar["export"]["request"] == law_of(settings)

    made = export("sglang", of, unverified=True)
    numbers = ("num_draft_tokens", "ngram_min_bfs_breadth", "ngram_max_bfs_breadth",
               "ngram_max_trie_depth")  # fmt: skip
    found = parsed(
        flattened(made.files()["sglang.yaml"]),
        speculative_algorithm=str, sampling_defaults=str, dtype=str,
        **{f"speculative_{name}": int for name in numbers},
    )  # fmt: skip
    assert found["speculative_num_draft_tokens"] == window  # the root counts
    assert found["speculative_ngram_max_bfs_breadth"] == 1  # a chain
    assert made.sidecar["export"]["request"]["top_k"] == (50 if law else -1)


def test_llama_cpp_says_every_value_of_its_sampling_in_our_order() -> None:
    settings = tree({"drafter": LATEST}, **SAMPLED)
    text = export("llama_cpp", chosen(settings)).files()["llama-server.args"]
    kinds = {"temp": float, "top_k": int, "top_p": float, "min_p": float, "typical_p": float,
             "samplers": str, "spec_type": str, "spec_ngram_simple_size_n": int,
             "spec_ngram_simple_size_m": int, "spec_ngram_simple_min_hits": int}  # fmt: skip
    found = parsed(shlex.split(text), **kinds)
    assert found == {
        "temp": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0,
        "samplers": "temperature;top_k;top_p", "spec_type": "ngram-simple",
        "spec_ngram_simple_size_n": 1, "spec_ngram_simple_size_m": 7,
        "spec_ngram_simple_min_hits": 1,
    }  # fmt: skip


def test_a_second_model_is_named_where_it_can_be() -> None:
    of = chosen(tree({"drafter": SMALL}), **DRAFT)
    vllm = yaml.safe_load(export("vllm", of).files()["vllm.yaml"])["speculative-config"]
    assert vllm == {
        "method": "draft_model", "model": "/models/small", "num_speculative_tokens": 4,
        "draft_sample_method": "greedy", "rejection_sample_method": "standard",
    }  # fmt: skip
    sglang = yaml.safe_load(export("sglang", of).files()["sglang.yaml"])
    assert sglang["speculative-algorithm"] == "STANDALONE"
    assert sglang["speculative-draft-model-path"] == "/models/small"
    triple = [sglang[f"speculative-{n}"] for n in ("num-steps", "eagle-topk", "num-draft-tokens")]
    assert triple == [4, 1, 5]
    trt = yaml.safe_load(export("tensorrt_llm", of).files()["trtllm.yaml"])["speculative_config"]
    assert trt["decoding_type"] == "Draft_Target" and trt["max_draft_len"] == 4
    made = export("transformers", of)
    assert made.documents["generation_config.json"] == {"do_sample": False}
    assert made.documents["assistant/generation_config.json"] == {
        "num_assistant_tokens": 4, "num_assistant_tokens_schedule": "constant",
        "assistant_confidence_threshold": 0.0,
    }  # fmt: skip
    assert "assistant_model=assistant" in made.use and "/models/small" in made.use
    compile(made.use, "use", "exec")
    gguf = export("llama_cpp", chosen(tree({"drafter": SMALL}), draft="s.gguf", model="l.gguf"))
    assert gguf.documents["llama-server.args"]["--spec-draft-n-max"] == 4
    assert gguf.use.startswith("llama-server --model l.gguf $(cat FOLDER/")


def test_vllm_draws_drafts_and_verifies_blocks_where_that_was_measured() -> None:
    of = chosen(tree({"drafter": SMALL, "verifier": "block"}, **SAMPLED), **DRAFT)
    made = export("vllm", of)
    found = made.documents["vllm.yaml"]["speculative-config"]
    assert found["rejection_sample_method"] == "block"
    assert found["draft_sample_method"] == "probabilistic"
    assert Code.SILENTLY_IGNORED in [note.code for note in made.notes]
    # Of certain drafts blocks are the exact rule: nothing is asked for.
    looked_up = chosen(tree({"drafter": LOOKUP, "verifier": "block"}, **SAMPLED))
    assert "rejection_sample_method" not in str(export("vllm", looked_up).documents)
    assert export("transformers", looked_up).documents


def test_amplified_acceptance_is_sglangs_threshold() -> None:
    amplified = {"is": "amplified", "factor": 4.0}
    settings = tree({"drafter": LOOKUP, "verifier": amplified}, **SAMPLED)
    found = export("sglang", chosen(settings), unverified=True).documents["sglang.yaml"]
    assert found["speculative-accept-threshold-acc"] == 0.25  # min(1, p / 0.25)
    assert found["speculative-accept-threshold-single"] == 1.0
    greedy = tree({"drafter": LOOKUP, "verifier": amplified})  # does nothing, and is not told
    found = export("sglang", chosen(greedy), unverified=True).documents["sglang.yaml"]
    assert not any("threshold" in name for name in found)


@pytest.mark.parametrize(
    ("choice", "method"), [("drawn", "probabilistic"), ("likeliest", "greedy")]
)
def test_vllm_drafts_as_was_measured(choice: str, method: str) -> None:
    of = chosen(tree({"drafter": {**SMALL, "choice": choice}}, **SAMPLED), **DRAFT)
    assert export("vllm", of).documents["vllm.yaml"]["speculative-config"][
        "draft_sample_method"
    ] == method  # fmt: skip
    if choice == "likeliest":  # what the others draft anyway
        export("tensorrt_llm", of)


def test_lengths_of_transformers() -> None:
    early = {"drafter": EARLY, "length": {"is": "confidence", "least": 0.6}}
    made = export("transformers", chosen(tree(early)))
    found = made.documents["generation_config.json"]
    assert found == {
        "do_sample": False, "num_assistant_tokens": 3,
        "num_assistant_tokens_schedule": "constant", "assistant_confidence_threshold": 0.6,
    }  # fmt: skip
    assert made.sidecar["export"]["request"] == {"assistant_early_exit": 6}
    assert "assistant_early_exit=6)" in made.use
    adaptive = {"drafter": {**EARLY, "window": 16}, "length": "adaptive"}
    made = export("transformers", chosen(tree(adaptive)), unverified=True)
    found = made.documents["generation_config.json"]
    assert found["num_assistant_tokens"] == 7  # half a window, the pending token among it
    assert found["num_assistant_tokens_schedule"] == "heuristic_transient"
    codes = [note.code for note in made.notes]
    assert codes == [Code.UNVERIFIED_SEMANTICS, Code.RUNTIME_ONLY]


LAW = {"temperature": 0.9, "top_k": 500, "top_p": 0.95}


def test_image_scripts_are_told_their_own_words() -> None:
    plain = tree({}, cfg=2.0, cfg_interval=10, **LAW)
    made = export("llamagen", chosen(plain, "llamagen", gpt="a b.pt", vq="vq.pt"))
    found = parsed(
        shlex.split(made.files()["sample_c2i.args"]), cfg_scale=float, cfg_interval=float,
        temperature=float, top_k=int, top_p=float, precision=str, gpt_ckpt=str, vq_ckpt=str,
    )  # fmt: skip
    assert found == {
        "cfg_scale": 2.0, "cfg_interval": 10.0, "precision": "bf16", "gpt_ckpt": "a b.pt",
        "vq_ckpt": "vq.pt", **LAW,
    }  # fmt: skip

    drafts = {**JACOBI, "window": 32, "init": "repeat_left"}
    made = export("sjd", chosen(tree({"drafter": drafts}, cfg=3.0, **LAW), "fashion"))
    assert json.loads(made.files()["constants.json"]) == {
        "max_num_new_tokens": 32, "multi_token_init_scheme": "repeat_horizon",
        "prefix_token_sampler_scheme": "speculative_jacobi", "image_top_k": 500,
        "guidance_scale": 3.0,
    }  # fmt: skip
    found = parsed(
        shlex.split(made.files()["test_llamagen.args"]), cfg_scale=float, temperature=float,
        top_p=float, precision=str,
    )  # fmt: skip
    assert found == {"cfg_scale": 3.0, "temperature": 0.9, "top_p": 0.95, "precision": "bf16"}

    grouped = tree({"drafter": JACOBI, "verifier": GROUPED}, temperature=1.0, top_k=2000)
    made = export("gsd", chosen(grouped, "fashion"), unverified=True)
    # GSD's release: 14 ranks, of which 6 are likelier than the draft and 7 less likely.
    assert json.loads(made.files()["scheduler.json"]) == {
        "ranks_likelier": 6, "ranks_less_likely": 7, "probability_gap": 0.15,
    }  # fmt: skip

    near = {"is": "latent_neighbour", "k": 100, "bound_kind": "multiplicative", "bound": 5.0}
    made = export(
        "lantern", chosen(tree({"drafter": JACOBI, "verifier": near}, **LAW), "fashion"),
        unverified=True,
    )  # fmt: skip
    found = parsed(
        shlex.split(made.files()["generate_images.args"]), ("lantern",), lantern_k=int,
        lantern_delta=float, model_type=str, temperature=float, top_k=int, top_p=float, cfg=float,
        precision=str,
    )  # fmt: skip
    assert found == {
        "lantern": True, "lantern_k": 100, "lantern_delta": 5.0, "model_type": "eagle", "cfg": 1.0,
        "precision": "bf16", **LAW,
    }  # fmt: skip
    plain_one = export("lantern", chosen(tree({}, **LAW), "fashion")).documents
    assert plain_one["generate_images.args"]["--model_type"] == "base"


# ---------------------------------------------------------------------------------------- refusals

TEXT = ("vllm", "sglang", "llama_cpp", "tensorrt_llm", "transformers")
IMAGE = ("llamagen", "sjd", "gsd", "lantern")
N, L, U = Code.NOT_EXPRESSIBLE, Code.LOSSY_MISMATCH, Code.UNVERIFIED_SEMANTICS
ONE = {"temperature": 1.0, "top_k": 100}


def _drafted(drafter: Any, **parts: Any) -> dict[str, Any]:
    return {"drafter": drafter, **parts}


REFUSED: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any], str, Code]] = [
    *((TEXT, _drafted(d), {}, "drafter", N) for d in ("aggressive", "trigram", "skip_layers")),
    (TEXT[:4], _drafted(EARLY), {}, "drafter", N),
    (TEXT, _drafted({"is": "jacobi"}), {}, "drafter", N),
    (TEXT, {"is": "shortened", "depth": "by_position"}, {}, "decoder", N),
    (IMAGE, {"is": "shortened", "depth": "by_position"}, {}, "decoder", N),
    (TEXT, _drafted(LOOKUP), {"cfg": 2.0}, "sampling.cfg", N),
    (TEXT, _drafted(LOOKUP, length="adaptive"), {}, "length", N),
    (TEXT, _drafted(SMALL, length="entropy"), {}, "length", N),
    (("vllm", "sglang", "tensorrt_llm"), _drafted(SMALL, length="confidence"), {}, "length", N),
    (("llama_cpp",), _drafted(SMALL, length="confidence"), {}, "length.least", U),
    (TEXT, _drafted(LOOKUP, verifier="top_beta"), {}, "verifier", L),
    (("sglang", "llama_cpp", "transformers"), _drafted(LOOKUP, verifier="typical"), {},
     "verifier", L),
    (("vllm", "tensorrt_llm"), _drafted(LOOKUP, verifier="typical"), {}, "verifier", Code.REMOVED),
    (("vllm", "llama_cpp", "tensorrt_llm", "transformers"),
     _drafted(LOOKUP, verifier="amplified"), SAMPLED, "verifier", L),
    (("sglang",), _drafted(SMALL, verifier="amplified"), SAMPLED, "verifier", L),
    (("sglang",), _drafted(LOOKUP, verifier="amplified", residual="mentored"), SAMPLED,
     "residual", N),
    (("sglang", "llama_cpp", "tensorrt_llm", "transformers"), _drafted(SMALL, verifier="block"),
     SAMPLED, "verifier", N),
    (("vllm", "transformers"), _drafted(LATEST), {}, "drafter.which", N),
    (("llama_cpp",), _drafted(LOOKUP), {}, "drafter.which", N),
    (("llama_cpp",), _drafted({**LATEST, "ngram": 2}), {}, "drafter.ngram", N),
    (("llama_cpp",), _drafted(SMALL), {}, "drafter", Code.RUNTIME_ONLY),
    (("sglang",), _drafted(LOOKUP), {}, "drafter", U),
    (("sglang", "llama_cpp", "tensorrt_llm"), _drafted(SMALL), SAMPLED, "sampling.temperature", U),
    (("transformers",), _drafted({**SMALL, "choice": "likeliest"}), SAMPLED, "drafter.choice", N),
    (("transformers",), _drafted({**EARLY, "choice": "likeliest"}), SAMPLED, "drafter.choice", N),
    (("transformers",), _drafted(LOOKUP), {"batch": 4}, "runtime.batch", N),
    (("transformers",), _drafted(EARLY, length="confidence"), SAMPLED, "length.least", U),
    (("transformers",), _drafted(EARLY, length={"is": "adaptive", "grow": 4}), {}, "length", N),
    (("transformers",), _drafted({**EARLY, "window": 8}, length="adaptive"), {},
     "drafter.window", U),
    (("llamagen",), _drafted(JACOBI), ONE, "drafter", N),
    (("sjd", "gsd"), {}, ONE, "drafter", N),
    (("sjd", "gsd"), _drafted({**JACOBI, "coupling": "gumbel"}), ONE, "drafter.coupling", N),
    (("sjd", "gsd"), _drafted({**JACOBI, "init": "repeat_above"}), ONE, "drafter.init", N),
    (("sjd", "gsd"), _drafted({**JACOBI, "init": "law_left"}), ONE, "drafter.init", U),
    (("sjd", "gsd"), _drafted(JACOBI, length="adaptive"), ONE, "length", N),
    (("sjd",), _drafted(JACOBI, verifier=GROUPED), ONE, "verifier", L),
    (("sjd", "gsd", "lantern"), _drafted(JACOBI), {"temperature": 1.0}, "sampling.top_k", U),
    (("sjd", "gsd", "lantern"), _drafted(JACOBI), {**ONE, "cfg": 2.0, "cfg_interval": 9},
     "sampling.cfg_interval", N),
    (("gsd",), _drafted(JACOBI), ONE, "verifier", N),
    (("gsd",), _drafted(JACOBI, verifier=GROUPED), ONE, "verifier", U),
    (("gsd",), _drafted(JACOBI, verifier={**GROUPED, "source": "blocks"}), ONE,
     "verifier.source", N),
    (("gsd",), _drafted(JACOBI, verifier={**GROUPED, "distance": 0.2}), ONE,
     "verifier.distance", N),
    (("gsd",), _drafted(JACOBI, verifier=GROUPED, residual="group"), ONE, "residual", N),
    (("gsd",), _drafted(JACOBI, verifier=GROUPED), {**ONE, "temperature": 0.9},
     "sampling.temperature", N),
    (("lantern",), _drafted(JACOBI, verifier="amplified"), ONE, "verifier", L),
    (("lantern",), _drafted(JACOBI, verifier="latent_neighbour"), ONE, "drafter", U),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "decoder", "law", "knob", "code"),
    [(target, *rest) for targets, *rest in REFUSED for target in targets],
)
def test_what_an_engine_cannot_say_is_refused_by_its_code(
    target: str, decoder: dict[str, Any], law: dict[str, Any], knob: str, code: Code
) -> None:
    workload = "fashion" if target in IMAGE else "text"
    of = chosen(tree(decoder, **law), workload, **DRAFT)
    with pytest.raises(Refused) as caught:
        export(target, of)
    found = {(finding.knob, finding.code): finding for finding in caught.value.findings}
    assert found[knob, code].why and found[knob, code].way
    assert caught.value.exit_code == 3 and str(code) in str(caught.value)
    if code is U and len(found) == 1:  # only doubted: it can be had, and says so
        made = export(target, of, unverified=True)
        assert (knob, U) in [(note.knob, note.code) for note in made.notes]


def test_everything_in_the_way_is_told_at_once() -> None:
    decoder = _drafted("aggressive", verifier="typical", length="adaptive")
    with pytest.raises(Refused) as caught:
        export("vllm", chosen(tree(decoder, cfg=2.0)))
    knobs = {finding.knob for finding in caught.value.findings}
    assert knobs == {"drafter", "verifier", "length", "sampling.cfg"}


@pytest.mark.parametrize("target", TEXT + IMAGE)
def test_models_of_another_kind_are_refused(target: str) -> None:
    workload = "text" if target in IMAGE else "fashion"
    with pytest.raises(Refused) as caught:
        export(target, chosen(tree({}, **ONE), workload))
    assert [finding.knob for finding in caught.value.findings] == ["workload"]


@pytest.mark.parametrize("target", TEXT + IMAGE)
def test_plain_decoding_has_no_drafts_anywhere(target: str) -> None:
    workload = "fashion" if target in IMAGE else "text"
    of = chosen(tree({}, **ONE), workload)
    if target in ("sjd", "gsd"):
        with pytest.raises(Refused):
            export(target, of)
        return
    told = json.dumps(export(target, of).documents)
    assert not any(word in told for word in ("spec", "assistant", "lookup", "lantern"))


# ----------------------------------------------------------------------------------------- schemas


def _written(target: str) -> Artefact:
    if target in ("sjd", "gsd"):
        verifier = GROUPED if target == "gsd" else "exact"
        of = chosen(tree(_drafted(JACOBI, verifier=verifier), **ONE), "fashion")
    elif target in IMAGE:
        of = chosen(tree({}, **ONE), "fashion")
    else:
        of = chosen(tree({"drafter": LATEST if target == "llama_cpp" else LOOKUP}))
    made: Artefact = export(target, of, unverified=True)
    return made


def _leaves(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(node, dict):
        return [path]
    return [leaf for key, value in node.items() for leaf in _leaves(value, (*path, key))]


def _changed(documents: Any, path: tuple[str, ...], change: Callable[[Any], None]) -> Any:
    found = node = copy.deepcopy(documents)
    for key in path[:-1]:
        node = node[key]
    change(node)
    return found


@pytest.mark.parametrize("target", TEXT + IMAGE)
def test_schemas_know_every_field_and_no_other(target: str) -> None:
    """Negative controls: each field with a value of no type of its, or under another name."""
    exporter, documents = KINDS["exporters"].load(target), _written(target).documents
    assert check(exporter, documents) == []
    for path in _leaves(documents):

        def nonsense(node: Any, key: str = path[-1]) -> None:
            node[key] = [-7]

        def renamed(node: Any, key: str = path[-1]) -> None:
            node[f"{key}x"] = node.pop(key)

        for change in (nonsense, renamed):
            found = check(exporter, _changed(documents, path, change))
            assert found and found[0].code == Code.OUT_OF_RANGE, (path, change)


@pytest.mark.parametrize(
    ("target", "path", "value", "code"),
    [
        ("vllm", "vllm.yaml/speculative-config/method", "medusa", Code.OUT_OF_RANGE),
        ("vllm", "vllm.yaml/speculative-config/num_speculative_tokens", 0, Code.OUT_OF_RANGE),
        ("vllm", "vllm.yaml/speculative-config/disable_by_batch_size", 4, Code.OUT_OF_RANGE),
        ("vllm", "vllm.yaml/speculative-config/prompt_lookup_min", 9, Code.CROSS_FIELD),
        ("transformers", "generation_config.json/prompt_lookup_num_tokens", -1, Code.OUT_OF_RANGE),
        ("transformers", "generation_config.json/assistant_early_exit", 2, Code.OUT_OF_RANGE),
        ("transformers", "generation_config.json/temperature", 0.5, Code.OUT_OF_RANGE),
        ("sglang", "sglang.yaml/speculative-num-steps", 3, Code.CROSS_FIELD),
        ("sglang", "sglang.yaml/speculative-accept-threshold-acc", 1.5, Code.OUT_OF_RANGE),
        ("llama_cpp", "llama-server.args/--draft-max", 8, Code.OUT_OF_RANGE),
        ("llama_cpp", "llama-server.args/--spec-ngram-simple-size-m", 2000, Code.OUT_OF_RANGE),
        ("tensorrt_llm", "trtllm.yaml/speculative_config/decoding_type", "Lookahead",
         Code.OUT_OF_RANGE),
        ("tensorrt_llm", "trtllm.yaml/speculative_config/draft_len_schedule", {4: 2},
         Code.CROSS_FIELD),
        ("llamagen", "sample_c2i.args/--top-p", 0.0, Code.OUT_OF_RANGE),
        ("sjd", "constants.json/multi_token_init_scheme", "repeat_vertical", Code.OUT_OF_RANGE),
        ("lantern", "generate_images.args/--lantern", True, Code.OUT_OF_RANGE),
    ],
)  # fmt: skip
def test_what_the_engine_would_refuse_or_misread_is_caught(
    target: str, path: str, value: Any, code: Code
) -> None:
    keys = tuple(path.split("/"))
    wrong = _changed(_written(target).documents, keys, lambda node: node.update({keys[-1]: value}))
    found = check(KINDS["exporters"].load(target), wrong)
    assert [finding.code for finding in found][:1] == [code]


@pytest.mark.parametrize("target", ("json", *TEXT, *IMAGE))
def test_the_sidecar_is_a_settings_file_and_keeps_to_its_schema(target: str) -> None:
    made = _written(target)
    sidecar = json.loads(made.files()[SIDECAR])
    schema = load("paretoken.search.exporters", "json-1.json")
    assert breaches(schema, sidecar) == []
    assert loads(made.files()[SIDECAR]) == sidecar["candidate"]
    assert sidecar["from"]["against_plain"]["tokens_per_s"]["difference"] == 5.0
    assert sidecar["export"]["documents"] == json.loads(json.dumps(made.documents))
    assert breaches(schema, {**sidecar, "more": 1}) != []
    assert breaches(schema, {**sidecar, "schema": 2}) != []
