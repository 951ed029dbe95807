"""Every family and size: counts of values, shapes, both training forms, branches for training."""

from typing import Any

import numpy as np
import paddle
import pytest
from pydantic import ValidationError

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.models.build import build_network, parameter_count
from ocr_pipeline.models.layers import fold

# Values of the form in which the released networks were trained, without what only the loss needs.
# Theirs has a bias (neck width / 4) in front of a normalisation of the detector's head: ours not.
TRAIN_FORM = {
    ("rec", "ppocrv6", "small", 18710): 5_310_278,
    ("rec", "ppocrv6", "tiny", 6906): 1_119_614,
    ("rec", "ppocrv4", "mobile", 6625): 6_329_629,
    ("det", "ppocrv6", "small", 0): 2_512_237 - 24,
    ("det", "ppocrv6", "tiny", 0): 450_829 - 16,
    ("det", "ppocrv4", "mobile", 0): 3_547_449 - 24,
}
FAMILIES = [
    ("rec", "ppocrv6", "tiny"),
    ("rec", "ppocrv6", "small"),
    ("rec", "ppocrv6", "medium"),
    ("rec", "ppocrv5", "mobile"),
    ("rec", "ppocrv4", "mobile"),
    ("det", "ppocrv6", "tiny"),
    ("det", "ppocrv6", "small"),
    ("det", "ppocrv6", "medium"),
    ("det", "ppocrv5", "mobile"),
    ("det", "ppocrv4", "mobile"),
]


def spec(task: str, family: str, size: str, **changes: Any) -> DetModelSpec | RecModelSpec:
    if task == "det":
        return DetModelSpec.model_validate({"family": family, "size": size, **changes})
    values = {"family": family, "size": size, "classes": 40, **changes}
    if family == "crnn":
        values["image"] = {"height": 32, "time_stride": 4}
    return RecModelSpec.model_validate(values)


def images(task: str, batch: int = 1) -> paddle.Tensor:
    shape = [batch, 3, 48, 96] if task == "rec" else [batch, 3, 64, 96]
    return paddle.to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


@pytest.mark.parametrize(("key", "count"), TRAIN_FORM.items())
def test_the_multi_branch_form_has_as_many_values_as_the_released_training(
    key: tuple[str, str, str, int], count: int
) -> None:
    task, family, size, classes = key
    changes = {"classes": classes} if classes else {}
    network = build_network(spec(task, family, size, form="multi_branch", **changes))
    assert parameter_count(network) == count


@pytest.mark.parametrize("form", ["calibrated", "multi_branch"])
@pytest.mark.parametrize(("task", "family", "size"), FAMILIES)
def test_folding_keeps_what_the_network_says(task: str, family: str, size: str, form: str) -> None:
    paddle.seed(1)
    network = build_network(spec(task, family, size, form=form))
    network.train()
    with paddle.no_grad():
        for _ in range(3):  # statistics of its own
            network.predict(images(task, batch=4))
    network.eval()
    # In float64, so that only the folding itself is seen and not the noise of single precision.
    network.to(dtype="float64")
    with paddle.no_grad():
        before = network.predict(images(task).astype("float64")).numpy()
    network.to(dtype="float32")
    fold(network)
    network.to(dtype="float64")
    with paddle.no_grad():
        after = network.predict(images(task).astype("float64")).numpy()
    assert np.abs(after - before).max() <= 1e-6 * np.abs(before).max()
    assert list(after.shape) == ([1, 12, 40] if task == "rec" else [1, 1, 64, 96])


@pytest.mark.parametrize("size", ["mobile", "resnet"])
def test_folding_keeps_what_the_features_of_a_crnn_say(size: str) -> None:
    """Its convolutions; Paddle's LSTM, which nothing folds, does not run in float64."""
    paddle.seed(1)
    features = build_network(spec("rec", "crnn", size)).backbone
    features.train()
    with paddle.no_grad():
        for _ in range(3):
            features(images("rec", batch=4))
    features.eval()
    features.to(dtype="float64")
    with paddle.no_grad():
        before = features(images("rec").astype("float64")).numpy()
    features.to(dtype="float32")
    fold(features)
    features.to(dtype="float64")
    with paddle.no_grad():
        after = features(images("rec").astype("float64")).numpy()
    assert np.abs(after - before).max() <= 1e-6 * np.abs(before).max()


def test_a_detector_gives_all_maps_that_the_loss_wants() -> None:
    network = build_network(spec("det", "ppocrv6", "tiny", threshold=True, auxiliary=True))
    network.eval()
    maps = network(images("det"))
    assert maps.prob_logits.shape == maps.threshold_logits.shape == [1, 1, 64, 96]
    shapes = [[1, 1, 64, 96], [1, 1, 32, 48], [1, 1, 16, 24]]
    assert [aux.prob_logits.shape for aux in maps.auxiliary] == shapes
    assert [aux.threshold_logits.shape for aux in maps.auxiliary] == shapes
    np.testing.assert_array_equal(network.predict(images("det")).numpy(), maps.prob_logits.numpy())
    plain = build_network(spec("det", "ppocrv6", "tiny"))
    assert plain(images("det")).threshold_logits is None
    extra = [name for name in network.state_dict() if name not in plain.state_dict()]
    assert extra
    assert all(name.startswith(network.TRAINING_ONLY) for name in extra)


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_ctc_alone_teaches_the_backbone(size: str) -> None:
    network = build_network(spec("rec", "ppocrv6", size))
    network.train()
    network(images("rec", batch=2)).logits.square().mean().backward()
    first = network.backbone.stem.first.conv.weight
    assert np.abs(first.grad.numpy()).max() > 0


def test_ctc_alone_teaches_the_backbone_of_the_mobile_network() -> None:
    network = build_network(spec("rec", "ppocrv4", "mobile"))
    network.train()
    network(images("rec", batch=2)).logits.square().mean().backward()
    assert np.abs(network.backbone.stem.conv.weight.grad.numpy()).max() > 0


def test_the_guide_speaks_only_when_it_is_given_tokens() -> None:
    network = build_network(spec("rec", "ppocrv6", "tiny", guide=True))
    network.eval()
    tokens = paddle.to_tensor([[2, 5, 6], [2, 7, 0]], dtype="int64")
    out = network(images("rec", batch=2), tokens)
    assert out.guide_logits.shape == [2, 3, 43]
    assert network(images("rec", batch=2)).guide_logits is None
    plain = build_network(spec("rec", "ppocrv6", "tiny"))
    extra = [name for name in network.state_dict() if name not in plain.state_dict()]
    assert extra
    assert all(name.startswith(network.TRAINING_ONLY) for name in extra)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="ppocrv5 has no size tiny; allowed: mobile"):
        spec("rec", "ppocrv5", "tiny")
    with pytest.raises(ValidationError, match="only ppocrv6 was trained with it"):
        spec("det", "ppocrv4", "mobile", auxiliary=True)
    with pytest.raises(ValidationError, match="crnn has one training form and no guide"):
        spec("rec", "crnn", "mobile", guide=True)
