"""Both stages together emit the law that the chain rule says; both ends are what they must be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paretoken.evaluators.clusters.auxiliary import Auxiliary
from paretoken.evaluators.clusters.decoding import TwoStages
from paretoken.evaluators.clusters.fine_pass import FinePass
from paretoken.evaluators.clusters.likelihood import bits
from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.clusters.stages import Sizes, Stages
from paretoken.evaluators.clusters_workload import _plain
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.models.llamagen import Transformer, TransformerConfig
from paretoken.evaluators.subwords.compute import route
from paretoken.evaluators.training.artefacts import Artefacts
from paretoken.evaluators.training.domains import Domain
from paretoken.evaluators.training.trainer import Trainer
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import MeasurementFailed

CPU = torch.device("cpu")
PARTITION = Partition.of(np.array([0, 1, 0, 2, 1]))
Make = Callable[..., Any]

# A dozen chi-square tests at this level.
LEVEL = 1e-5


def config(vocabulary: int, width: int = 2) -> TransformerConfig:
    return TransformerConfig(
        dim=32, layers=1, heads=1, vocabulary=vocabulary, height=1, width=width, classes=2,
        dropout=0.0, class_dropout=0.0, multiple_of=32,
    )  # fmt: skip


def drawn(model: Any, seed: int) -> Any:
    """The model with weights by chance, its output layer too: laws that differ from prefix to
    prefix."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.35)
    return model.eval().requires_grad_(False)


def auxiliary(partition: Partition = PARTITION, width: int = 2, **knobs: Any) -> Auxiliary:
    told = {"attention": "full", "masked": True, "by_rank": False} | knobs
    return cast(
        Auxiliary, drawn(Auxiliary(config(partition.vocabulary, width), partition, **told), 1)
    )


def coarse_model(partition: Partition = PARTITION) -> Transformer:
    return cast(Transformer, drawn(Transformer(config(len(partition))), 2))


def sampling(**knobs: Any) -> Sampling:
    return cast(Sampling, from_tree({"is": "samplings/standard", **knobs}, "samplings"))


# ---------------------------------------------------------------------------- the auxiliary model


@pytest.mark.parametrize("by_rank", [False, True])
@pytest.mark.parametrize("attention", ["full", "causal"])
def test_codes_outside_of_the_cluster_have_no_mass(attention: str, by_rank: bool) -> None:
    model = auxiliary(attention=attention, by_rank=by_rank, masked=not by_rank)
    coarse = torch.tensor(list(itertools.product(range(3), repeat=2)))
    law = model.of_clusters(coarse, torch.zeros(9, dtype=torch.int64)).softmax(-1)
    outside = torch.from_numpy(PARTITION.labels) != coarse.unsqueeze(-1)
    assert float(law[outside].abs().max()) == 0.0
    assert torch.allclose(law.sum(-1), torch.ones(()), rtol=0, atol=1e-6)  # five float32
    free = auxiliary(attention=attention, masked=False)
    law = free.of_clusters(coarse, torch.zeros(9, dtype=torch.int64)).softmax(-1)
    assert float(law[outside].min()) > 0.0  # the negative control


def test_ranks_are_shared_by_clusters() -> None:
    """The logit of a code is that of its place in its cluster."""
    model = auxiliary(by_rank=True, masked=False)
    assert model.output.weight.shape[0] == PARTITION.sizes.max() == 2
    logits = model.of_clusters(torch.tensor([[0, 0]]), torch.tensor([1]))[0, 0]
    x = torch.cat(
        [model.condition(torch.tensor([1])), model.tok_embeddings(torch.tensor([[0, 0]]))], 1
    )
    x = model.layers[0](x, model.rotary[:3], model._attend)
    of_ranks = model.output(model.norm(x))[0, 1]
    assert torch.equal(logits[[0, 2]], of_ranks)


def test_causal_attention_sees_nothing_ahead() -> None:
    classes = torch.zeros(2, dtype=torch.int64)
    coarse = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 2]])
    for attention, same in (("causal", True), ("full", False)):
        model = auxiliary(width=4, attention=attention, masked=False)
        one, other = model.of_clusters(coarse, classes)[:, :3]
        assert torch.equal(one, other) == same


# ------------------------------------------------------------------------------------- the law


def guided(model: Any, given: Tensor, law_of: Sampling, label: int, aux: bool) -> Tensor:
    """Laws [n, T, V] by the definition: guidance, then the temperature."""
    classes = torch.full((len(given),), label)
    call = model.of_clusters if aux else model
    with_class, without = call(given, classes).double(), call(given, classes * 0 + 2).double()
    if aux:  # what is forbidden stays so
        with_class = with_class.masked_fill(with_class < -1e29, -math.inf)
        without = without.masked_fill(without < -1e29, 0.0)
    mixed = with_class if law_of.cfg == 1.0 else without + law_of.cfg * (with_class - without)
    return (mixed / law_of.temperature).softmax(-1)


def joint_law(coarse: Any, fine: Any, of_coarse: Sampling, of_fine: Sampling, label: int) -> Any:
    """p(c1) p(c2 | c1) p(i1 | c1 c2) p(i2 | c1 c2), summed over the clusters."""
    pairs = torch.tensor(list(itertools.product(range(len(PARTITION)), repeat=2)))
    first = guided(coarse, pairs, of_coarse, label, aux=False)
    second = guided(fine, pairs, of_fine, label, aux=True)
    law = dict.fromkeys(itertools.product(range(PARTITION.vocabulary), repeat=2), 0.0)
    for nth, (c1, c2) in enumerate(pairs.tolist()):
        mass = float(first[nth, 0, c1] * first[nth, 1, c2])
        for i1, i2 in law:
            law[i1, i2] += mass * float(second[nth, 0, i1] * second[nth, 1, i2])
    return law


WAYS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {}),
    ({"temperature": 1.3}, {"temperature": 0.7}, {}),
    ({"cfg": 2.0}, {"cfg": 1.5}, {}),
    ({}, {}, {"masked": False}),
    ({}, {"temperature": 0.8}, {"by_rank": True}),
    ({}, {}, {"attention": "causal"}),
]


@pytest.mark.parametrize(("of_coarse", "of_fine", "knobs"), WAYS, ids=str)
def test_images_follow_the_enumerated_law(
    of_coarse: dict[str, Any], of_fine: dict[str, Any], knobs: dict[str, Any], chi_square: Any
) -> None:
    coarse, fine = coarse_model(), auxiliary(**knobs)
    laws = sampling(**of_coarse), sampling(**of_fine)
    tokens = emitted(coarse, fine, *laws, images=12_000, batch=512)
    expected = joint_law(coarse, fine, *laws, label=1)
    assert abs(sum(expected.values()) - 1.0) < 1e-9
    assert chi_square(tokens, expected) > LEVEL
    # The negative control: another temperature of either stage is noticed.
    for other in (
        (sampling(**{**of_coarse, "temperature": 2.0}), laws[1]),
        (laws[0], sampling(**{**of_fine, "temperature": 2.0})),
    ):
        assert chi_square(tokens, joint_law(coarse, fine, *other, label=1)) < LEVEL


def emitted(
    coarse: Any, fine: Any, of_coarse: Sampling, of_fine: Sampling, *, images: int, batch: int
) -> Tensor:
    decoding = TwoStages(
        _plain(coarse, of_coarse, CPU, torch.float32, batch, 3, False),
        FinePass(
            fine, of_fine, batch=min(batch, 64), seed=3, device=CPU, dtype=torch.float32,
            graphs=False,
        ),
        length=2, batch=min(batch, 64),
    )  # fmt: skip
    tokens, trace = decoding.run(torch.ones(images, dtype=torch.int64))
    assert trace.forwards.tolist() == [3] * images  # two clusters, and all codes
    return tokens


def test_an_image_is_the_same_whatever_the_batch() -> None:
    models, laws = (coarse_model(), auxiliary()), (sampling(), sampling())
    whole = emitted(*models, *laws, images=50, batch=50)
    parts = emitted(*models, *laws, images=50, batch=7)
    # float32 products of another shape may round a near-tie the other way: not one of 50 does.
    assert torch.equal(whole, parts)
    assert len({tuple(row) for row in whole.tolist()}) > 5


def test_greedy_codes_are_the_likeliest_of_their_clusters() -> None:
    fine = auxiliary()
    pass_ = FinePass(
        fine, sampling(temperature=0.0), batch=9, seed=0, device=CPU, dtype=torch.float32,
        graphs=False,
    )  # fmt: skip
    coarse = torch.tensor(list(itertools.product(range(3), repeat=2)))
    classes = torch.zeros(9, dtype=torch.int64)
    found = pass_.run(coarse, classes, 0)
    assert torch.equal(found, fine.of_clusters(coarse, classes).argmax(-1))
    assert torch.equal(torch.from_numpy(PARTITION.labels)[found], coarse)


def test_logits_that_are_no_numbers_fail_the_candidate() -> None:
    fine = auxiliary()
    fine.output.weight.fill_(torch.nan)
    pass_ = FinePass(
        fine, sampling(), batch=1, seed=0, device=CPU, dtype=torch.float32, graphs=False
    )
    with pytest.raises(MeasurementFailed, match="no numbers"):
        pass_.run(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 0)


# --------------------------------------------------------------------------------- likelihood


@pytest.mark.parametrize(
    ("knobs", "proper"), [({}, True), ({"by_rank": True}, True), ({"masked": False}, False)]
)
def test_probabilities_of_all_images_add_up(knobs: dict[str, Any], proper: bool) -> None:
    every = torch.tensor(list(itertools.product(range(5), repeat=2)))
    classes = torch.zeros(25, dtype=torch.int64)
    fine = auxiliary(**knobs)
    found = bits(coarse_model(), fine, PARTITION, every, classes, CPU)
    assert torch.equal(found.total, found.coarse + found.fine)
    total = float(torch.exp2(-found.total).sum())
    assert fine.proper == proper
    assert (abs(total - 1.0) < 1e-5) == proper and total < 1.0 + 1e-5  # float32 logits
    if proper:
        law = joint_law(coarse_model(), fine, sampling(), sampling(), label=0)
        for row, one in zip(every.tolist(), found.total.tolist(), strict=True):
            assert 2.0**-one == pytest.approx(law[tuple(row)], rel=1e-5)


# ------------------------------------------------------------------------------------ both ends


def test_as_many_clusters_as_codes_is_plain_autoregression(
    stages_in: Make, candidate_of: Make, artefacts: Artefacts, images: Domain, tmp_path: Path
) -> None:
    """The logits are those of a model that was trained on the codes themselves, bit for bit."""
    stages = stages_in(artefacts)
    finest = Partition.finest(12)
    stage, none = stages.of(candidate_of(clusters=12), finest)
    assert none is None
    key = stages.train(stage, finest, lambda step, of: None)
    plain = Trainer(
        stage.recipe, [images], Artefacts(tmp_path, "plain"), {}, CPU,
    )  # fmt: skip
    plain_key = plain.train(route(stage.steps), 0, False, lambda step, of: None)
    kept = plain.artefacts.load(plain_key, "weights")
    assert kept is not None
    model = Transformer(stage.recipe.model)
    model.load_state_dict(kept.tensors["weights"])
    expected = model.eval()(images.held_out.long(), images.held_out_classes)
    found = stages.load(stage, key)(images.held_out.long(), images.held_out_classes)
    assert torch.equal(found, expected) and float(expected.detach().std()) > 0.1
    # And no knob of the auxiliary model is in what is trained.
    for knobs in ({"aux_depth": 4}, {"aux_share": 0.25}, {"fine_target": "rank"}):
        other, none = stages.of(candidate_of(clusters=12, **knobs), finest)
        assert none is None
        assert (other.identity, other.steps) == (stage.identity, stage.steps)


def test_one_cluster_is_the_auxiliary_model_alone(
    stages_in: Make, candidate_of: Make, artefacts: Artefacts
) -> None:
    everything = Partition(np.zeros(12, dtype=np.int64))
    stages = stages_in(artefacts)
    none, stage = stages.of(candidate_of(clusters=1), everything)
    assert none is None and stage is not None
    one = canonical(candidate_of(clusters=1))
    for knobs in (
        {"coarse": {"is": "samplings/standard", "temperature": 0.5, "cfg": 2.0}},
        {"aux_masked": False}, {"fine_target": "rank"}, {"aux_share": 0.25},
    ):  # fmt: skip
        assert canonical(candidate_of(clusters=1, **knobs)) == one
        assert canonical(candidate_of(clusters=2, **knobs)) != canonical(candidate_of(clusters=2))
    assert canonical(candidate_of("balanced", clusters=1)) == one
    fine = auxiliary(everything_of(5))
    pass_ = FinePass(
        fine, sampling(), batch=4, seed=0, device=CPU, dtype=torch.float32, graphs=False
    )
    tokens, trace = TwoStages(None, pass_, length=2, batch=4).run(torch.zeros(9, dtype=torch.int64))
    assert tokens.shape == (9, 2) and trace.forwards.tolist() == [1] * 9 and trace.seconds > 0


def everything_of(codes: int) -> Partition:
    return Partition(np.zeros(codes, dtype=np.int64))


# -------------------------------------------------------------------------------- what is trained


def test_both_stages_share_the_budget(
    stages_in: Make, candidate_of: Make, artefacts: Artefacts
) -> None:
    stages = stages_in(artefacts)
    for clusters, share in itertools.product((1, 2, 5, 12), (0.25, 0.5)):
        candidate = candidate_of("random", clusters=clusters, aux_share=share)
        partition = candidate.clustering.partition(np.eye(12))
        both = stages.of(candidate, partition)
        spent = [of.steps * of.operations * 8 * 4 if of else 0.0 for of in both]
        steps = [of.operations * 8 * 4 for of in both if of]
        assert 0 <= 6e8 - sum(spent) < sum(steps)  # no stage takes a part of a step
        if 1 < clusters < 12:
            assert spent[1] == pytest.approx(share * 6e8, abs=max(steps))
    with pytest.raises(MeasurementFailed, match="--option compute"):
        stages.of(candidate_of(clusters=4, budget=0.001), partition=PARTITION_OF_TWELVE)


PARTITION_OF_TWELVE = Partition.of(np.arange(12) % 4)


def test_the_stages_learn(
    stages_in: Make, candidate_of: Make, artefacts: Artefacts, images: Domain
) -> None:
    """Bits of held-out images fall below those of codes that are equally likely."""
    stages = stages_in(
        artefacts, Sizes(dim=32, layers=1, batch=8, compute=1.2e9, precision="float32")
    )
    candidate = candidate_of(clusters=4)
    models = []
    for stage in stages.of(candidate, PARTITION_OF_TWELVE):
        key = stages.train(stage, PARTITION_OF_TWELVE, lambda step, of: None)
        models.append(stages.load(stage, key))
    found = bits(*models, PARTITION_OF_TWELVE, images.held_out, images.held_out_classes, CPU)
    assert float(found.total.mean()) < 4 * math.log2(12) - 1.0
    assert torch.equal(models[1].labels, torch.from_numpy(PARTITION_OF_TWELVE.labels))


class Killed(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("which", [0, 1])
def test_a_stage_that_was_stopped_goes_on_bit_for_bit(
    stages_in: Make, candidate_of: Make, tmp_path: Path, which: int
) -> None:
    steady, killed = (Artefacts(tmp_path / name, "trained") for name in ("steady", "killed"))
    candidate = candidate_of(clusters=4)

    def trained(stages: Stages, say: Any) -> dict[str, Tensor]:
        stage = stages.of(candidate, PARTITION_OF_TWELVE)[which]
        assert stage is not None and stage.steps > 30
        return dict(stages.load(stage, stages.train(stage, PARTITION_OF_TWELVE, say)).state_dict())

    def stop(step: int, of: int) -> None:
        if step == 20:
            raise Killed

    expected = trained(stages_in(steady), lambda step, of: None)
    with pytest.raises(Killed):
        trained(stages_in(killed), stop)
    again = stages_in(killed)
    found = trained(again, lambda step, of: None)
    assert again.counts.spared == 20
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_nothing_that_only_decoding_asks_for_is_trained_anew(
    stages_in: Make, candidate_of: Make, artefacts: Artefacts
) -> None:
    stages = stages_in(artefacts)

    def trained(**knobs: Any) -> int:
        before = stages.counts.trained
        for stage in stages.of(candidate_of(**knobs), PARTITION_OF_TWELVE):
            stages.train(stage, PARTITION_OF_TWELVE, lambda step, of: None)
        return int(stages.counts.trained - before)

    assert trained() > 0
    hot = {"is": "samplings/standard", "temperature": 0.7, "top_k": 2, "cfg": 1.5}
    for knobs in (
        {"coarse": hot},
        {"fine": hot},
        {"runtime": {"is": "runtimes/local", "batch": 4}},
    ):
        assert trained(**knobs) == 0
    # Another auxiliary model leaves the first stage as it is.
    coarse, fine = stages.of(candidate_of(), PARTITION_OF_TWELVE)
    assert trained(aux_attention="causal") == fine.steps
    assert coarse.steps > 0 and trained(aux_share=0.25) > 0
    tree = to_tree(candidate_of(coarse=hot))
    assert tree["coarse"]["temperature"] == 0.7  # it was said, and mattered to nobody


def test_a_tenth_of_the_classes_is_left_out_in_training_and_the_same_tenth_every_time(
    stages_in: Make, candidate_of: Make, artefacts: Artefacts, images: Domain
) -> None:
    stage, _ = stages_in(artefacts).of(candidate_of(), PARTITION_OF_TWELVE)
    trainer = Trainer(stage.recipe, [images], artefacts, {}, CPU)
    drawn_classes = torch.cat([trainer._batch(0, place, 0)[1] for place in range(500)])
    left_out = float((drawn_classes == 2).double().mean())
    # 4,000 draws: a standard deviation of 0.0047.
    assert abs(left_out - 0.1) < 5 * 0.0047
    assert torch.equal(trainer._batch(0, 7, 0)[1], trainer._batch(0, 7, 0)[1])
    assert not torch.equal(trainer._batch(0, 7, 0)[0], trainer._batch(0, 7, 1)[0])
