"""Feature spaces: their int8 code, their distance, what they say of a vector and of a match."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from geoloc.errors import UnknownClassError, UsageError
from geoloc.models import MISSING, FeatureSpace, Quantizer, code_range_of
from geoloc.models.features import UNNAMED
from geoloc.scenes import PLACES365, describe

from .array_cube import make_metric

F32 = NDArray[np.float32]


def space_of(dim: int, kind: str = "plain", names: int = 0, seed: int = 5) -> FeatureSpace:
    """A space of ``dim`` features; ``names``: how many a readout has."""
    rng = np.random.default_rng(seed)
    return FeatureSpace(
        tuple(f"class{i}" for i in range(names or dim)),
        weights=rng.uniform(0, 1, dim).astype(np.float32) if "weights" in kind else None,
        metric=make_metric(dim, 7) if "metric" in kind else None,
        readout=make_metric(names, dim, seed) if names else None,
    )


def squared(space: FeatureSpace, a: F32, b: F32, weights: F32 | None = None) -> float:
    """The definition of the squared distance, with matrices written out."""
    difference = a.astype(np.float64) - b
    w = np.ones(space.dim) if space.weights is None else space.weights.astype(np.float64)
    if weights is not None:
        w = weights.astype(np.float64)
        difference = difference if space.readout is None else space.readout @ difference
    image = np.diag(w / np.linalg.norm(w)) @ difference
    return float(((image if space.metric is None else space.metric.T @ image) ** 2).sum())


# --- the code -------------------------------------------------------------------------------

VECTORS = hnp.arrays(
    np.float32, (9, 3), elements=st.floats(-1000, 1000, width=32, allow_subnormal=False)
)


@given(VECTORS)
@settings(max_examples=60)
def test_values_of_the_sample_come_back_within_half_a_step(values: NDArray[np.float32]) -> None:
    quantizer = Quantizer.fit(values.min(axis=0), values.max(axis=0))
    codes, saturated = quantizer.encode(values)
    assert saturated == 0
    assert codes.min() > MISSING
    slack = 1e-4 * (1 + np.abs(values))
    assert (np.abs(quantizer.decode(codes) - values) <= quantizer.scale * 0.5 + slack).all()


@given(VECTORS, hnp.arrays(np.bool_, (9,)), st.sampled_from([np.nan, np.inf, -np.inf]))
@settings(max_examples=60)
def test_missing_is_never_a_value(
    values: NDArray[np.float32], gone: NDArray[np.bool_], hole: float
) -> None:
    quantizer = Quantizer(np.full(3, 0.5, np.float32), np.full(3, 64, np.float32))
    values[gone, 1] = hole  # one bad component is enough
    codes, _ = quantizer.encode(values)
    assert (codes[gone] == MISSING).all()
    assert (codes[~gone] != MISSING).all()
    assert np.isnan(quantizer.decode(codes)[gone]).all()
    assert np.isfinite(quantizer.decode(codes)[~gone]).all()


def test_clipped_values_are_counted() -> None:
    quantizer = Quantizer.fit(np.float32([-1, -1]), np.float32([1, 1]))
    codes, saturated = quantizer.encode(np.float32([[0, 9], [-9, 0.5], [np.nan, 9]]))
    assert saturated == 2
    assert codes.tolist() == [[0, 127], [-127, 41], [MISSING, MISSING]]


def test_a_sample_of_equal_values_has_room() -> None:
    alone = Quantizer.fit(np.float32([7]), np.float32([7]))
    value = alone.decode(alone.encode(np.float32([[7]]))[0])
    np.testing.assert_allclose(value, [[7]], atol=float(alone.scale) / 2)


def test_a_range_is_what_the_code_holds() -> None:
    quantizer = Quantizer.of_range(-5, 20)
    assert (quantizer.scale, quantizer.offset) == (0.1015625, 7.515625)  # 13 / 128, 74 steps
    codes, saturated = quantizer.encode(np.float32([[-5, 20, 7.5]]))
    assert saturated == 0 and codes.tolist() == [[-123, 123, 0]]
    _, saturated = quantizer.encode(np.float32([[-5.5, 20, 20.5]]))
    assert saturated == 2


@given(st.floats(-1e3, 1e3), st.floats(1, 1e3))
def test_a_code_holds_its_range_and_decodes_exactly(low: float, span: float) -> None:
    quantizer = Quantizer.of_range(low, low + span)
    ends = np.float32([[low, low + span]])
    _, saturated = quantizer.encode(ends)
    assert saturated == 0
    assert float(quantizer.scale) <= span / 253 * (1 + 1 / 16) * (1 + 1e-6)
    codes = np.arange(-127, 128, dtype=np.int8)[:, None]
    exact = codes.astype(np.float64) * float(quantizer.scale) + float(quantizer.offset)
    assert (quantizer.decode(codes) == exact).all()


def test_the_range_of_a_model_is_that_of_its_vectors_and_a_tenth() -> None:
    assert code_range_of(np.float32([[0, 3], [10, 5]])) == (-1, 11)


def test_a_code_may_have_a_range_for_each_feature() -> None:
    quantizer = Quantizer(np.float32([0.5, 2]), np.float32([0, 100]))
    codes, saturated = quantizer.encode(np.float32([[1, 90], [np.nan, 1], [70, 100]]))
    assert codes.tolist() == [[2, -5], [MISSING, MISSING], [127, 0]] and saturated == 1
    np.testing.assert_array_equal(quantizer.decode(codes), [[1, 90], [np.nan] * 2, [63.5, 100]])
    assert [part.tolist() for part in quantizer.each(2)] == [[0.5, 2], [0, 100]]


def test_without_a_code_nothing_is_stored() -> None:
    with pytest.raises(ValueError, match="no code"):
        space_of(3).encode(np.zeros((1, 3), np.float32))
    assert space_of(3).with_code(Quantizer.fit(np.zeros(3), np.ones(3))).code is not None


# --- distance -------------------------------------------------------------------------------

KINDS = st.sampled_from(["plain", "weights", "metric", "weights, metric"])


@given(seed=st.integers(0, 2**32), kind=KINDS, names=st.sampled_from([0, 4, 40]))
@settings(max_examples=60)
def test_a_distance_is_what_its_definition_says(seed: int, kind: str, names: int) -> None:
    a, b = np.random.default_rng(seed).normal(0, 3, (2, 19)).astype(np.float32)
    space = space_of(19, kind, names)
    distance = space.distance()
    assert distance.between(a, b) ** 2 == pytest.approx(squared(space, a, b), rel=1e-9)
    assert distance.between(a, b) == pytest.approx(distance.between(b, a), rel=1e-12)
    assert distance.between(a, a) == 0 and distance.own
    norms = distance.squared_norm(np.stack([a, b]))
    by_norms = norms.sum() - 2 * float(distance.pull(a) @ b)
    assert by_norms == pytest.approx(squared(space, a, b), rel=1e-4, abs=1e-4)


def test_without_weights_the_distance_is_the_rms_difference() -> None:
    difference = np.float32([[1, 2, 3, 4]])
    assert space_of(4).distance().squared_norm(difference) == pytest.approx(30 / 4)
    doubled = dataclasses.replace(space_of(4), metric=np.eye(4, dtype=np.float32) * 2)
    assert doubled.distance().squared_norm(difference) == pytest.approx(30)


@given(seed=st.integers(0, 2**32), names=st.sampled_from([0, 4, 40]))
@settings(max_examples=40)
def test_weights_of_names_compare_logits(seed: int, names: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 3, (2, 19)).astype(np.float32)
    space = space_of(19, "weights", names)
    weights = rng.uniform(0.1, 2, names or 19).astype(np.float32)
    distance = space.distance(weights)
    assert not distance.own
    assert distance.between(a, b) ** 2 == pytest.approx(squared(space, a, b, weights), rel=1e-5)


def test_weights_that_do_not_fit_are_refused() -> None:
    for bad in (np.ones(3), np.ones((2, 2)), [1, 2, 3, -1], [0, 0, 0, 0], [1, 1, 1, np.nan]):
        with pytest.raises(UsageError):
            space_of(4).distance(bad)
    with pytest.raises(UsageError, match="metric"):
        space_of(4, "metric").distance(np.ones(4))


# --- words ----------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32), kind=KINDS, names=st.sampled_from([0, 4, 23, 40]), by=st.booleans()
)
@settings(max_examples=80)
def test_shares_sum_to_one_and_rebuild_the_squared_distance(
    seed: int, kind: str, names: int, by: bool
) -> None:
    rng = np.random.default_rng(seed)
    photo, place = rng.normal(0, 3, (2, 23)).astype(np.float32)
    space = space_of(23, kind, names)
    by = by and space.metric is None
    weights = rng.uniform(0.1, 1, len(space.names)).astype(np.float32) if by else None
    distance = space.distance(weights)
    terms = space.explain(photo, place, distance)
    assert sum(t.share for t in terms) == pytest.approx(1, abs=1e-9)
    sizes = [abs(t.share) for t in terms]
    assert sizes == sorted(sizes, reverse=True)
    parts = space.contributions(photo, place, distance)
    whole = squared(space, photo, place, weights)
    unnamed = {t.scene for t in terms} - set(space.names)
    assert unnamed == ({UNNAMED} if names == 4 and not by else set())
    if not unnamed:
        assert parts.sum() == pytest.approx(whole, rel=1e-5)
    logits = (
        (photo, place) if space.readout is None else (space.readout @ photo, space.readout @ place)
    )
    for t in terms[:3]:
        if not t.unnamed:
            i = space.names.index(t.scene)
            assert (t.photo, t.place) == pytest.approx((logits[0][i], logits[1][i]), rel=1e-5)
            assert t.share * whole == pytest.approx(parts[i], rel=1e-5)


def test_a_name_that_alone_differs_makes_all_of_the_distance() -> None:
    readout = np.float32([[1, 0, 0], [1, 1, 0], [0, 2, 1]])  # of full rank
    space = FeatureSpace(("a", "b", "c"), readout=readout)
    photo = np.linalg.solve(readout, [0, 0, 5]).astype(np.float32)
    terms = space.explain(photo, np.zeros(3, np.float32), space.distance())
    assert terms[0].scene == "c" and terms[0].share == pytest.approx(1)
    assert [t.share for t in terms[1:]] == pytest.approx([0, 0])


def test_equal_vectors_differ_in_nothing() -> None:
    space = space_of(2)
    assert [t.share for t in space.explain([1.0, 2.0], [1.0, 2.0], space.distance())] == [0, 0]


def test_vectors_are_described_by_the_names_that_they_are_read_as() -> None:
    readout = np.float32([[0, 1], [3, 0], [0, -1]])
    space = FeatureSpace(("far", "near", "never"), readout=readout)
    assert (space.dim, len(space.names)) == (2, 3)
    (first, share), *_ = space.describe([1.0, 1.5], top=2)
    assert first == "near"
    assert share == pytest.approx(np.exp(3) / (np.exp(3) + np.exp(1.5) + np.exp(-1.5)))
    np.testing.assert_allclose(
        space.logits(np.ones((4, 5, 2))), np.broadcast_to([1, 3, -1], (4, 5, 3))
    )


def test_the_vector_of_a_scene_says_only_that_scene() -> None:
    space = FeatureSpace(PLACES365)
    vector = space.named_vector(["soccer stadium"])
    assert describe(vector, PLACES365)[0] == ("stadium-soccer", pytest.approx(1, abs=1e-5))
    with pytest.raises(UnknownClassError, match="stadium-soccer"):
        space.index("socer stadium")
