"""The loss of a DB detector, against numbers worked out by hand and by finite differences."""

import numpy as np
import paddle
import pytest

from ocr_pipeline.config.train import DBLossConfig
from ocr_pipeline.models.db_detector import AuxiliaryMaps, DBMaps
from ocr_pipeline.training.db_loss import db_loss, dice_loss, focal_loss

CONFIG = DBLossConfig()


def tensor(values: object) -> paddle.Tensor:
    return paddle.to_tensor(np.array(values, dtype=np.float32))


def logit(prob: float) -> float:
    return float(np.log(prob / (1 - prob)))


def test_dice_by_hand() -> None:
    probs, truth = tensor([0.5, 1.0, 0.25]), tensor([1.0, 1.0, 0.0])
    everything = tensor([1.0, 1.0, 1.0])
    assert float(dice_loss(probs, truth, everything)) == pytest.approx(1 - 2 * 1.5 / 3.75, abs=1e-6)
    without_last = tensor([1.0, 1.0, 0.0])
    assert float(dice_loss(probs, truth, without_last)) == pytest.approx(1 - 3 / 3.5, abs=1e-6)
    assert float(dice_loss(truth, truth, everything)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(1 - truth, truth, everything)) == pytest.approx(1)


def test_focal_by_hand() -> None:
    logits, truth = tensor([logit(0.9), logit(0.2)]), tensor([1.0, 0.0])
    mask = tensor([1.0, 1.0])
    right = 0.25 * 0.1**2.5 * -np.log(0.9)
    wrong = 0.75 * 0.2**2.5 * -np.log(0.8)
    assert float(focal_loss(logits, truth, mask)) == pytest.approx((right + wrong) / 2, rel=1e-4)
    assert float(focal_loss(logits, truth, tensor([1.0, 0.0]))) == pytest.approx(right, rel=1e-4)


def test_focal_is_finite_where_the_network_is_sure_and_wrong() -> None:
    logits = tensor([1000.0, -1000.0, 50.0])
    logits.stop_gradient = False
    loss = focal_loss(logits, tensor([0.0, 1.0, 0.0]), tensor([1.0, 1.0, 1.0]))
    loss.backward()
    assert np.isfinite(float(loss))
    assert np.isfinite(logits.grad.numpy()).all()


def planes(*, shrink: float, threshold: float) -> paddle.Tensor:
    maps = np.ones((1, 4, 4, 4), dtype=np.float32)
    maps[0, 0] = shrink
    maps[0, 2] = threshold
    return paddle.to_tensor(maps)


def maps_of(prob: float, threshold: float, *, auxiliary: bool = False) -> DBMaps:
    def full(value: float, side: int) -> paddle.Tensor:
        return paddle.full([1, 1, side, side], logit(value))

    heads = ()
    if auxiliary:
        heads = tuple(AuxiliaryMaps(full(prob, s), full(threshold, s)) for s in (4, 2, 1))
    return DBMaps(full(prob, 4), full(threshold, 4), heads)


def test_terms_are_weighted() -> None:
    terms = db_loss(maps_of(0.8, 0.4), planes(shrink=1, threshold=0.7), CONFIG, focal=False)
    assert float(terms["prob"]) == pytest.approx(1 - 2 * 0.8 / 1.8, abs=1e-5)
    assert float(terms["threshold"]) == pytest.approx(0.3, abs=1e-5)
    assert float(terms["binary"]) == pytest.approx(0, abs=1e-5)  # 0.8 is far above 0.4
    assert float(terms["total"]) == pytest.approx(5 * (1 - 1.6 / 1.8) + 10 * 0.3, abs=1e-4)
    assert set(terms) == {"total", "prob", "threshold", "binary"}


def test_binary_map_compares_probability_and_threshold() -> None:
    low = db_loss(maps_of(0.3, 0.4), planes(shrink=1, threshold=0.4), CONFIG, focal=False)
    probability = 1 / (1 + np.exp(50 * 0.1))
    expected = 1 - 2 * probability / (1 + probability)
    assert float(low["binary"]) == pytest.approx(expected, abs=1e-4)


def test_focal_adds_to_probability_and_binary_map_only() -> None:
    target = planes(shrink=1, threshold=0.4)
    plain = db_loss(maps_of(0.3, 0.4), target, CONFIG, focal=False)
    focal = db_loss(maps_of(0.3, 0.4), target, CONFIG, focal=True)
    assert float(focal["prob"] - plain["prob"]) == pytest.approx(
        0.25 * 0.7**2.5 * -np.log(0.3), rel=1e-4
    )
    assert float(focal["binary"]) > float(plain["binary"])
    assert float(focal["threshold"]) == float(plain["threshold"])


def test_auxiliary_heads_are_brought_to_size_and_weighted() -> None:
    target = planes(shrink=1, threshold=0.7)
    alone = db_loss(maps_of(0.8, 0.4), target, CONFIG, focal=True)
    both = db_loss(maps_of(0.8, 0.4, auxiliary=True), target, CONFIG, focal=True)
    share = 0.4 + 0.3 + 0.2  # constant maps stay what they are when enlarged
    assert float(both["auxiliary"]) == pytest.approx(share * float(alone["total"]), rel=1e-5)
    assert float(both["total"]) == pytest.approx((1 + share) * float(alone["total"]), rel=1e-5)


def test_masked_pixels_have_no_gradient() -> None:
    maps = planes(shrink=1, threshold=0.7).numpy()
    maps[0, 1, :2] = 0
    maps[0, 3, :2] = 0
    out = maps_of(0.3, 0.4)
    for logits in (out.prob_logits, out.threshold_logits):
        assert logits is not None
        logits.stop_gradient = False
    db_loss(out, paddle.to_tensor(maps), CONFIG, focal=True)["total"].backward()
    for logits in (out.prob_logits, out.threshold_logits):
        assert logits is not None
        grads = logits.grad.numpy()[0, 0]
        assert (grads[:2] == 0).all()
        assert (grads[2:] != 0).all()


def test_threshold_branch_is_needed() -> None:
    out = DBMaps(maps_of(0.5, 0.5).prob_logits)
    with pytest.raises(ValueError, match="no threshold branch"):
        db_loss(out, planes(shrink=1, threshold=0.3), CONFIG, focal=False)
