"""Distances and their spread, on small synthetic features and images."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset
from torch_fidelity import FeatureExtractorBase, calculate_metrics, register_feature_extractor
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from paretoken.evaluators.metrics.comparable import MetricKey
from paretoken.evaluators.metrics.distances import KID_SUBSETS, METRICS, SEED, distances
from paretoken.evaluators.metrics.features import Features, extract
from paretoken.evaluators.metrics.psnr import psnr
from paretoken.evaluators.metrics.quality import OBJECTIVES, quality
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.metrics.spread import Calibration, Scatter, scatter_over_sets
from paretoken.spaces.errors import BadInput, MeasurementFailed


def gaussian(n: int, d: int = 16, *, seed: int, shift: float = 0.0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(n, d, generator=generator) + shift
    return Features(pool, torch.randn(n, 10, generator=generator), "toy@1:0")


def frechet_with_sqrtm(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    apart = x.mean(0) - y.mean(0)
    return float(apart @ apart + np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(s @ t).real))


def test_fid_equals_an_independent_matrix_square_root() -> None:
    a, b = gaussian(200, seed=1, shift=0.3), gaussian(300, seed=2)
    # The reference keeps its covariance in fp32: 16 eigenvalues near 1, each off by at most
    # |E| <= 16 * 2^-24 = 1e-6, enter the trace and (at half weight, twice) the root: 3e-5.
    expected = frechet_with_sqrtm(a.pool, b.pool)
    assert distances(a, Reference.of_features(b))["fid"] == pytest.approx(expected, abs=3e-5)


@pytest.mark.parametrize(("n", "d"), [(300, 16), (60, 128)])
def test_fid_is_zero_against_itself_and_positive_between_halves(n: int, d: int) -> None:
    whole = gaussian(2 * n, d, seed=3)
    half, other = whole.split(n)
    reference = Reference.of_features(half)
    # As above, |E| <= d * 2^-24 < 1e-5 for each of d eigenvalues: 1e-3. For n < d the eigenvalues
    # that should be 0 come out as fp64 rounding (about 1e-15), whose root is 3e-8 each.
    assert distances(half, reference)["fid"] == pytest.approx(0.0, abs=1e-3)
    assert distances(other, reference)["fid"] > 0.1


def test_fid_of_fewer_images_than_dimensions_equals_the_small_problem() -> None:
    a, b = gaussian(60, 128, seed=4, shift=0.1), gaussian(90, 128, seed=5)
    x = (a.pool - a.pool.mean(0)).double() / math.sqrt(59)
    y = (b.pool - b.pool.mean(0)).double() / math.sqrt(89)
    # tr sqrt(S T) is the sum of the singular values of X Y', a 60 x 90 matrix.
    root = torch.linalg.svdvals(x @ y.T).sum()
    apart = (a.pool.double().mean(0) - b.pool.double().mean(0)).square().sum()
    expected = float(apart + x.square().sum() + y.square().sum() - 2 * root)
    # fp32 covariance of size up to 5 in norm and rank 59 of 60 x 128: as above, 1e-3.
    assert distances(a, Reference.of_features(b))["fid"] == pytest.approx(expected, abs=1e-3)


def test_kid_is_zero_within_its_spread_and_far_from_it_when_shifted() -> None:
    reference = Reference.of_features(gaussian(800, seed=6))
    same = scatter_over_sets(gaussian(800, seed=7).split(100), reference)["kid"]
    moved = scatter_over_sets(gaussian(800, seed=8, shift=0.5).split(100), reference)["kid"]
    # Unbiased, so the mean over 8 sets is within 4 standard errors of 0 but for the reference's
    # own draw, which all sets share: 800 rows against 8 sets of 100 add one more error's width.
    assert abs(same.mean) < 4 * math.sqrt(2) * same.std / math.sqrt(8)
    assert moved.mean > 10 * same.std  # negative control


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_precision_and_recall_are_those_of_torch_fidelity(
    shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paretoken.evaluators.metrics.manifold._ROWS_AT_ONCE", 64)
    reference = Reference.of_features(gaussian(300, seed=21))
    features = gaussian(200, seed=22, shift=shift)
    theirs = prc_features_to_metric(
        features.pool.double(), reference.on(torch.device("cpu")).rows[:200],
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    ours = distances(features, reference)
    # Shares of 200 images; theirs are means of float32.
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)
    assert 0.0 < ours["precision"] != ours["recall"]


def test_precision_and_recall_fall_apart_for_distant_samples() -> None:
    reference = Reference.of_features(gaussian(100, seed=9))
    near, far = gaussian(100, seed=10), gaussian(100, seed=11, shift=20.0)
    assert distances(near, reference)["precision"] > 0.5 < distances(near, reference)["recall"]
    assert distances(far, reference)["precision"] == 0.0 == distances(far, reference)["recall"]


def test_inception_score_is_one_for_equal_and_ten_for_ten_sure_classes() -> None:
    pool = gaussian(200, seed=12).pool
    reference = Reference.of_features(gaussian(100, seed=13))
    equal = Features(pool, torch.zeros(200, 10), "toy@1:0")
    sure = Features(pool, 50.0 * torch.eye(10).repeat(20, 1), "toy@1:0")
    assert distances(equal, reference)["isc"] == pytest.approx(1.0, abs=1e-12)
    # Each part of 20 shuffled images misses the uniform mix of classes a little: exp of the class
    # entropy, whose expected deficit is (classes - 1) / (2 * 20) = 0.23 nats: 10 exp(-0.23) = 8.
    assert 7.0 < distances(sure, reference)["isc"] < 9.5


def test_the_same_features_give_the_same_numbers() -> None:
    reference = Reference.of_features(gaussian(100, seed=14))
    assert distances(gaussian(50, seed=15), reference) == distances(
        gaussian(50, seed=15), reference
    )


def test_metrics_refuse_few_images_and_foreign_extractors() -> None:
    reference = Reference.of_features(gaussian(100, seed=16))
    with pytest.raises(BadInput, match="at least 20"):
        distances(gaussian(19, seed=17), reference)
    foreign = dataclasses.replace(gaussian(50, seed=17), extractor="toy@2:0")
    with pytest.raises(BadInput, match="toy@2:0"):
        distances(foreign, reference)


def test_a_metric_without_a_finite_value_fails_the_measurement() -> None:
    reference = Reference.of_features(gaussian(100, seed=18))
    # A class whose probability underflows in a whole part of ISC makes it 0 * infinity.
    surest = Features(gaussian(50, seed=19).pool, 1000.0 * torch.eye(10).repeat(5, 1), "toy@1:0")
    with pytest.raises(MeasurementFailed, match="isc") as failure:
        distances(surest, reference)
    assert failure.value.reason == "nan"


class Blocks(FeatureExtractorBase):
    """Mean colours of 4 x 4 blocks: 48 features of a 16 x 16 image."""

    identity = "blocks@16:0"

    def __init__(self, name: str = "blocks", features_list: Any = ("pool", "logits"), **_: Any):
        super().__init__(name, features_list)
        self.scale = torch.nn.Parameter(torch.tensor(1 / 255))

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("pool", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "pool"

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pool = avg_pool2d(images.float(), 4).flatten(1) * self.scale
        return tuple({"pool": pool, "logits": pool[:, :10]}[name] for name in self.features_list)


class Pictures(Dataset[Tensor]):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def test_other_reference_content_gives_another_number(tmp_path: Path) -> None:
    register_feature_extractor("blocks", Blocks)
    generator = torch.Generator().manual_seed(20)
    noise = torch.randint(0, 256, (300, 3, 16, 16), generator=generator, dtype=torch.uint8)
    made, real, dark = noise[:100], noise[100:200], noise[200:] // 4

    def through_its_cache(reference: Tensor) -> float:
        scores = calculate_metrics(
            input1=Pictures(made),
            input2=Pictures(reference),
            input2_cache_name="reference",
            cache_root=str(tmp_path),
            feature_extractor="blocks",
            fid=True,
            cuda=False,
            save_cpu_ram=True,
            verbose=False,
        )
        return float(scores["frechet_inception_distance"])

    blocks = Blocks()
    features = extract(made, blocks)
    against = {
        name: distances(features, Reference.of(images, blocks, "reference"))["fid"]
        for name, images in (("real", real), ("dark", dark))
    }
    # The trap: under one cache name torch-fidelity answers for content that is no longer there.
    assert through_its_cache(real) == through_its_cache(dark)
    assert against["dark"] > 2 * against["real"]
    # Ours is torch-fidelity's number, but for its fp32 mean of features in [0, 1]: 48 squares of
    # a difference of 0.1 at most, each off by 2 * 0.1 * 2^-24, are 1e-6 together.
    assert against["real"] == pytest.approx(through_its_cache(real), abs=1e-6)


def test_quality_of_several_sets_carries_the_spread_of_their_mean() -> None:
    reference = Reference.of_features(gaussian(200, seed=21))
    sets = gaussian(200, seed=22).split(50)
    found = {quantity.name: quantity for quantity in quality(sets, reference)}
    assert tuple(found) == METRICS == tuple(OBJECTIVES)
    values = [distances(one, reference)["fid"] for one in sets]
    fid = found["fid"]
    assert fid.value == pytest.approx(np.mean(values))
    assert fid.spread == pytest.approx(np.std(values, ddof=1) / 2)  # sqrt of 4 sets
    assert (fid.samples, fid.detail["n"], fid.detail["sets"]) == (200, 50, 4)
    assert not fid.higher and found["recall"].higher
    assert str(MetricKey.of(fid)) == fid.comparable


def test_quality_of_one_set_takes_the_calibrated_spread() -> None:
    reference = Reference.of_features(gaussian(200, seed=23))
    calibration = Calibration.of({50: gaussian(200, seed=24).split(50)}, reference)
    one = [gaussian(50, seed=25, shift=1.0)]
    found = {quantity.name: quantity for quantity in quality(one, reference, calibration)}
    fid, kid = calibration.points["fid"][50], calibration.points["kid"][50]
    assert found["fid"].spread == pytest.approx(fid.std / fid.mean * found["fid"].value)
    far = fid.std / fid.mean * found["kid"].value
    assert found["kid"].spread == pytest.approx(math.hypot(kid.std, far))
    assert found["fid"].detail["spread_from"] == "calibrated at N=50 on 4 sets"


def test_quality_refuses_a_number_without_a_spread() -> None:
    reference = Reference.of_features(gaussian(100, seed=26))
    one = [gaussian(50, seed=27)]
    with pytest.raises(BadInput, match="calibration"):
        quality(one, reference)
    with pytest.raises(BadInput, match="at least one"):
        quality([], reference)
    elsewhere = Calibration.of(
        {50: gaussian(100, seed=28).split(50)}, Reference.of_features(gaussian(100, seed=29))
    )
    with pytest.raises(BadInput, match="calibrate again"):
        quality(one, reference, elsewhere)
    with pytest.raises(BadInput, match="equal size"):
        quality([gaussian(50, seed=30), gaussian(40, seed=31)], reference)


def power_law(sizes: tuple[int, ...]) -> Calibration:
    points = {
        "fid": {n: Scatter(100.0, 100.0 * n**-0.5, 8) for n in sizes},
        "kid": {n: Scatter(0.0, 2.0 * n**-1.0, 8) for n in sizes},
    }
    return Calibration("toy", "reference", points)


def test_calibration_interpolates_as_a_power_law_between_three_points() -> None:
    calibration = power_law((100, 400, 1600))
    # The points lie on the law exactly, so only fp64 rounding of logarithms remains.
    std, spread_from = calibration.std("fid", 900, 30.0)
    assert std == pytest.approx(30.0 / 30.0, rel=1e-9)
    assert spread_from == "power law N^-0.50 through N=100, 400, 1600"
    assert calibration.std("kid", 200, 0.0)[0] == pytest.approx(0.01, rel=1e-9)
    # Far from 0 it scatters as FID does: 200^-0.5 of the value.
    assert calibration.std("kid", 200, 5.0)[0] == pytest.approx(
        math.hypot(0.01, 5.0 * 200**-0.5), rel=1e-9
    )


@pytest.mark.parametrize(
    ("sizes", "metric", "n"),
    [
        ((100, 1600), "fid", 400),
        ((100, 400, 1600), "fid", 50),
        ((100, 400, 1600), "fid", 50),
        ((100, 400, 1600), "recall", 400),
    ],
)
def test_calibration_refuses_what_it_does_not_know(
    sizes: tuple[int, ...], metric: str, n: int
) -> None:
    with pytest.raises(BadInput, match=f"not at {n}"):
        power_law(sizes).std(metric, n, 1.0)


def test_a_spread_needs_two_sets() -> None:
    with pytest.raises(BadInput, match="at least 2"):
        Scatter.over([1.0])


def test_unequal_sample_sizes_do_not_compare() -> None:
    small, large = (MetricKey("fid", "lite0@64:57934424", n, "abc") for n in (500, 2000))
    assert str(small) != str(large)
    assert str(small) != str(dataclasses.replace(small, metric="kid"))
    assert str(small) == str(dataclasses.replace(small))


def test_psnr_is_the_mean_of_each_image() -> None:
    originals = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    reconstructions = originals.clone()
    reconstructions[0] += 1  # MSE 1
    reconstructions[1] += 10  # MSE 100
    found = psnr(originals, reconstructions)
    one, ten = 20 * math.log10(255), 20 * math.log10(25.5)
    assert found.value == pytest.approx((one + ten) / 2)
    assert found.spread == pytest.approx((one - ten) / 2)  # std of two values / sqrt(2)
    assert found.higher and found.unit == "dB"


def test_psnr_of_exact_images_is_finite_and_above_every_other() -> None:
    originals = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    almost = originals.clone()
    almost[:, 0, 0, 0] += 2
    exact = psnr(originals, originals).value
    assert math.isfinite(exact) and exact > psnr(originals, almost).value


def test_psnr_compares_only_on_the_same_originals() -> None:
    originals = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    others = originals + 1
    assert psnr(originals, others).comparable != psnr(others, originals).comparable
    with pytest.raises(BadInput, match="pair them"):
        psnr(originals, others[:2])


@pytest.mark.parametrize(("n", "d"), [(300, 32), (40, 64)])
def test_fid_and_kid_are_torch_fidelitys(n: int, d: int) -> None:
    a, b = gaussian(n, d, seed=21, shift=0.2), gaussian(350, d, seed=22)
    reference = Reference.of_features(b)
    found = distances(a, reference)
    rows = torch.from_numpy(reference.rows).double()
    kid = kid_features_to_metric(
        a.pool.double(), rows, kid_subsets=KID_SUBSETS, kid_subset_size=n // 2, rng_seed=SEED,
        verbose=False,
    )  # fmt: skip
    # Both in fp64, sums of up to 150 * 150 terms in another order.
    assert found["kid"] == pytest.approx(kid[KEY_METRIC_KID_MEAN], rel=1e-9, abs=1e-12)
    own = fid_features_to_statistics(a.pool.double())
    fid = fid_statistics_to_metric(own, reference.statistics, verbose=False)[KEY_METRIC_FID]
    # Where n < d, torch-fidelity's zero eigenvalues are noise of about 1e-16 of the largest (4),
    # with a root of 2e-8 each; d - n of them, and 40 for those of the reference.
    assert found["fid"] == pytest.approx(fid, abs=1e-5 if n < d else 1e-9)
