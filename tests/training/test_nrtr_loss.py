import numpy as np
import paddle
import pytest

from ocr_pipeline.training.nrtr_loss import nrtr_loss

RANDOM = np.random.default_rng(7)
LOGITS = (3 * RANDOM.normal(size=(3, 4, 9))).astype(np.float32)
TARGETS = np.array([[5, 4, 8, 3], [6, 3, 0, 0], [3, 0, 0, 0]])


def reference(logits: np.ndarray, targets: np.ndarray, smoothing: float) -> float:
    """Cross-entropy to an explicit target distribution, token by token, float64."""
    losses = []
    for row, wanted in zip(logits.astype(np.float64), targets, strict=True):
        for scores, token in zip(row, wanted, strict=True):
            if token == 0:
                continue
            target = np.full(len(scores), smoothing / len(scores))
            target[token] += 1 - smoothing
            losses.append(-(target * (scores - np.log(np.exp(scores).sum()))).sum())
    return float(np.mean(losses))


def loss_of(logits: np.ndarray, targets: np.ndarray, **kwargs: float) -> float:
    return float(nrtr_loss(paddle.to_tensor(logits), paddle.to_tensor(targets), **kwargs))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_smoothed_cross_entropy(smoothing: float) -> None:
    expected = reference(LOGITS, TARGETS, smoothing)
    assert loss_of(LOGITS, TARGETS, smoothing=smoothing) == pytest.approx(expected, rel=1e-5)


def test_smoothing_is_a_tenth_unless_told() -> None:
    assert loss_of(LOGITS, TARGETS) == pytest.approx(reference(LOGITS, TARGETS, 0.1), rel=1e-5)


def test_what_stands_at_padding_does_not_count() -> None:
    changed = np.where((TARGETS == 0)[:, :, None], 100 * LOGITS, LOGITS)
    assert loss_of(changed, TARGETS) == loss_of(LOGITS, TARGETS)
    wider = np.pad(LOGITS, ((0, 0), (0, 5), (0, 0)))
    padded = np.pad(TARGETS, ((0, 0), (0, 5)))
    assert loss_of(wider, padded) == pytest.approx(loss_of(LOGITS, TARGETS), rel=1e-6)


def test_the_gradient_is_softmax_minus_target_over_the_tokens() -> None:
    logits = paddle.to_tensor(LOGITS)
    logits.stop_gradient = False
    nrtr_loss(logits, paddle.to_tensor(TARGETS)).backward()
    soft = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)
    target = np.eye(9)[TARGETS] * 0.9 + 0.1 / 9
    counted = TARGETS != 0
    expected = (soft - target) * counted[:, :, None] / counted.sum()
    np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-6)


def test_half_precision_logits_are_summed_in_single_precision() -> None:
    # 60,000 classes: a sum of exponentials beyond float16.
    logits = paddle.full([1, 1, 60_000], 5.0, dtype="float16")
    logits.stop_gradient = False
    loss = nrtr_loss(logits, paddle.to_tensor([[4]]))
    assert loss.dtype == paddle.float32
    assert float(loss) == pytest.approx(np.log(60_000), rel=1e-5)
