from itertools import islice

import numpy as np
import pytest

from ocr_pipeline.errors import TrainingError
from ocr_pipeline.training.batch_plan import BatchPlan, Planned, Scale

WIDTHS = np.random.default_rng(0).choice([320, 384, 448, 3200], 300, p=[0.6, 0.3, 0.09, 0.01])
ONE = (Scale(48, 16),)
THREE = (Scale(32, 24), Scale(48, 16), Scale(64, 12))


def plan(scales: tuple[Scale, ...] = ONE, *, seed: int = 1, **values: object) -> BatchPlan:
    return BatchPlan(WIDTHS, scales=scales, seed=seed, **values)


def equal(one: Planned, other: Planned) -> bool:
    same = (one.bucket, one.size, one.epoch) == (other.bucket, other.size, other.epoch)
    return same and np.array_equal(one.indices, other.indices)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("scales", [ONE, THREE])
def test_ranks_see_disjoint_samples_whose_union_is_the_set(
    world: int, scales: tuple[Scale, ...]
) -> None:
    ranks = [plan(scales, rank=rank, world=world) for rank in range(world)]
    for epoch in range(2):
        steps = ranks[0].steps_per_epoch(epoch)
        before = sum(ranks[0].steps_per_epoch(e) for e in range(epoch))
        streams = [islice(rank.from_step(before), steps) for rank in ranks]
        seen: list[int] = []
        for batches in zip(*streams, strict=True):
            assert len({(b.bucket, b.size, b.epoch) for b in batches}) == 1
            for batch in batches:
                assert (
                    1
                    <= len(batch.indices)
                    <= {s.size: s.rows for s in scales}[batch.size] + (world > 1)
                )
                assert WIDTHS[batch.indices].max() <= batch.bucket
                seen += batch.indices.tolist()
        assert sorted(seen) == list(range(len(WIDTHS)))


@pytest.mark.parametrize("scales", [ONE, THREE])
@pytest.mark.parametrize("weights", [None, np.full(len(WIDTHS), 0.5)])
def test_a_resumed_stream_is_the_unbroken_one(
    scales: tuple[Scale, ...], weights: np.ndarray | None
) -> None:
    whole = list(islice(plan(scales, weights=weights).from_step(0), 70))
    assert whole[-1].epoch >= 2
    for start in (1, 13, 40, 69):
        rest = list(islice(plan(scales, weights=weights).from_step(start), 70 - start))
        assert all(equal(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_order_follows_from_the_seed_and_differs_between_epochs() -> None:
    first = list(islice(plan().from_step(0), 5))
    assert all(equal(a, b) for a, b in zip(first, islice(plan().from_step(0), 5), strict=True))
    assert not equal(first[0], next(plan(seed=2).from_step(0)))
    again = next(plan().from_step(plan().steps_per_epoch()))
    assert not np.array_equal(first[0].indices, again.indices)


@pytest.mark.parametrize(("weight", "epochs"), [(2.0, 1), (0.5, 2), (0.3, 10), (1.5, 2)])
def test_a_sample_is_shown_as_often_as_its_weight_says(weight: float, epochs: int) -> None:
    weights = np.ones(len(WIDTHS))
    weights[:100] = weight
    shown = np.zeros(len(WIDTHS))
    for batch in plan(weights=weights).from_step(0):
        if batch.epoch == epochs:
            break
        np.add.at(shown, batch.indices, 1)
    assert shown[:100].tolist() == [round(weight * epochs)] * 100
    assert shown[100:].tolist() == [epochs] * 200


def test_a_batch_has_one_bucket_and_its_rows() -> None:
    batches = list(islice(plan().from_step(0), plan().steps_per_epoch()))
    full = sum(len(batch.indices) == 16 for batch in batches)
    buckets = len(set(WIDTHS.tolist()))
    assert full >= len(batches) - buckets
    for batch in batches:
        assert set(WIDTHS[batch.indices].tolist()) == {batch.bucket}


def test_scales_keep_their_rows() -> None:
    rows = {scale.size: scale.rows for scale in THREE}
    steps = plan(THREE).steps_per_epoch()
    batches = list(islice(plan(THREE).from_step(0), steps))
    assert {batch.size for batch in batches} == set(rows)
    assert sum(len(b.indices) == rows[b.size] for b in batches) >= len(batches) - 4


def test_fewer_samples_than_processes_is_an_error() -> None:
    with pytest.raises(TrainingError, match="2 samples for 3 processes"):
        BatchPlan(np.array([320, 320]), scales=ONE, seed=0, world=3)


def test_a_bucket_with_too_few_samples_joins_its_neighbour() -> None:
    widths = np.array([320] * 9 + [384] + [448] * 2)
    ranks = [BatchPlan(widths, scales=ONE, seed=0, rank=r, world=3) for r in range(3)]
    steps = ranks[0].steps_per_epoch()
    shown = [b for rank in ranks for b in islice(rank.from_step(0), steps)]
    assert sorted(np.concatenate([b.indices for b in shown]).tolist()) == list(range(12))
    assert all(len(b.indices) for b in shown)
    assert {b.bucket for b in shown} == {320, 448}
