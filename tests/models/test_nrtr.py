import numpy as np
import paddle
import pytest
from paddle import Tensor

from ocr_pipeline.models.nrtr import NRTRBranch, positions
from ocr_pipeline.ops.nrtr_tokens import encode_tokens, token_count
from ocr_pipeline.training.nrtr_loss import nrtr_loss

CLASSES = 8
CHANNELS = 6


def small_branch(*, layers: int = 2, dropout: float = 0.1) -> NRTRBranch:
    paddle.seed(2)
    return NRTRBranch(
        in_channels=CHANNELS,
        classes=CLASSES,
        width=32,
        heads=4,
        hidden=64,
        layers=layers,
        dropout=dropout,
    )


def features(batch: int, steps: int = 5) -> Tensor:
    random = np.random.default_rng(batch)
    return paddle.to_tensor(random.normal(size=(batch, CHANNELS, 1, steps)).astype(np.float32))


def test_logits_at_full_size() -> None:
    branch = NRTRBranch(in_channels=CHANNELS, classes=CLASSES)
    inputs, _ = encode_tokens([[1, 2, 3], [7]], classes=CLASSES)
    logits = branch(features(2), paddle.to_tensor(inputs))
    assert logits.shape == [2, 4, token_count(CLASSES)]
    # A layer: two attentions of four 384x384 and biases, the MLP, three norms.
    layer = 2 * 4 * (384 * 384 + 384) + 2 * 384 * 1536 + 1536 + 384 + 3 * 2 * 384
    ends = CHANNELS * 384 + 2 * 384 * token_count(CLASSES)
    assert sum(int(np.prod(p.shape)) for p in branch.parameters()) == 4 * layer + ends


def test_a_later_token_does_not_change_earlier_logits() -> None:
    branch = small_branch()
    branch.eval()
    tokens = np.array([[2, 4, 5, 6, 7]])
    changed = np.array([[2, 4, 5, 9, 10]])
    before = branch(features(1), paddle.to_tensor(tokens)).numpy()
    after = branch(features(1), paddle.to_tensor(changed)).numpy()
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    assert (np.abs(after[:, 3:] - before[:, 3:]).max(axis=2) > 1e-3).all()


def test_an_earlier_token_changes_every_later_logit() -> None:
    branch = small_branch()
    branch.eval()
    before = branch(features(1), paddle.to_tensor([[2, 4, 5, 6, 7]])).numpy()
    after = branch(features(1), paddle.to_tensor([[2, 10, 5, 6, 7]])).numpy()
    assert (np.abs(after[:, 1:] - before[:, 1:]).max(axis=2) > 1e-4).all()


def test_padding_changes_nothing() -> None:
    branch = small_branch()
    branch.eval()
    labels = [[1, 2], [7, 6, 5, 4, 3]]
    together = [paddle.to_tensor(each) for each in encode_tokens(labels, classes=CLASSES)]
    alone = [paddle.to_tensor(each) for each in encode_tokens(labels[:1], classes=CLASSES)]
    maps = features(2)
    padded, plain = branch(maps, together[0])[:1], branch(maps[:1], alone[0])
    np.testing.assert_allclose(padded[:, :3].numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)
    short = nrtr_loss(plain, alone[1])
    np.testing.assert_allclose(nrtr_loss(padded, together[1][:1]).numpy(), short.numpy(), rtol=1e-5)


def test_the_order_of_tokens_counts() -> None:
    branch = small_branch(layers=1)  # two would see the order through the causal mask
    branch.eval()
    one = branch(features(1), paddle.to_tensor([[2, 4, 5, 6]]))[:, -1]
    other = branch(features(1), paddle.to_tensor([[2, 5, 4, 6]]))[:, -1]
    assert np.abs((one - other).numpy()).max() > 1e-3


def test_positions_are_sines_then_cosines() -> None:
    table = positions(50, 8).numpy()
    places = np.arange(50)[:, None]
    angles = places / 10_000 ** (np.arange(0, 8, 2) / 8)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(table, expected, atol=1e-5)


def test_dropout_is_for_training_only() -> None:
    branch, tokens = small_branch(), paddle.to_tensor([[2, 4, 5]])
    assert np.abs((branch(features(1), tokens) - branch(features(1), tokens)).numpy()).max() > 1e-3
    branch.eval()
    same = branch(features(1), tokens).numpy()
    np.testing.assert_array_equal(branch(features(1), tokens).numpy(), same)


def test_it_learns_to_read_and_the_gradient_reaches_the_features() -> None:
    # Which label is meant can be told from the features only: all of them begin alike.
    branch = small_branch(dropout=0.0)
    labels = [[1, 2, 3], [1, 2, 4, 4], [1, 7], [1, 2]]
    inputs, targets = (paddle.to_tensor(each) for each in encode_tokens(labels, classes=CLASSES))
    maps = features(4)
    maps.stop_gradient = False
    nrtr_loss(branch(maps, inputs), targets).backward()
    assert (np.abs(maps.grad.numpy()).max(axis=(1, 2)) > 0).all()  # at every column
    assert all(parameter.grad is not None for parameter in branch.parameters())
    optimizer = paddle.optimizer.Adam(3e-3, parameters=branch.parameters())
    optimizer.clear_grad()
    for _ in range(60):
        nrtr_loss(branch(maps, inputs), targets).backward()
        optimizer.step()
        optimizer.clear_grad()
    said = branch(maps, inputs).argmax(axis=2).numpy()
    counted = targets.numpy() != 0
    np.testing.assert_array_equal(said[counted], targets.numpy()[counted])


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width 40; it must be divisible by 2 and by 12 heads"):
        NRTRBranch(in_channels=8, classes=9, width=40)
