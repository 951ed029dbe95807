from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.static import InputSpec

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.inference.paddle_engine import PaddleEngine
from ocr_pipeline.models.crnn import CRNN, TIME_STRIDE, SequenceEncoder
from ocr_pipeline.models.layers import fold
from ocr_pipeline.models.mobilenet_v3 import MobileNetV3, scaled
from ocr_pipeline.models.resnet_vd import ResNet34VD
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import decode_greedy

CHARSET = Charset(list("0123456789"))
BACKBONES = pytest.mark.parametrize("backbone", ["mobile", "resnet"])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return paddle.to_tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def trained(backbone: str) -> CRNN:
    """A network whose normalisations have statistics as after a training; evaluation mode."""
    paddle.seed(5)
    network = CRNN(backbone=backbone, classes=CHARSET.classes)
    network.train()
    with paddle.no_grad():
        for step in range(10):
            network(noise(2, 3, 32, 32, seed=step))
    network.eval()
    return network


def count(network: nn.Layer) -> int:
    # Paddle lists running statistics among the parameters.
    trained = [tensor for tensor in network.parameters() if not tensor.stop_gradient]
    return sum(int(np.prod(tensor.shape)) for tensor in trained)


@BACKBONES
@pytest.mark.parametrize("height", [32, 48])
def test_there_is_one_time_step_every_four_columns(backbone: str, height: int) -> None:
    network = CRNN(backbone=backbone, classes=CHARSET.classes)
    network.eval()
    images = noise(2, 3, height, 72)
    assert TIME_STRIDE == 4
    logits = network.predict(images)
    assert logits.shape == [2, 72 // TIME_STRIDE, CHARSET.classes]
    np.testing.assert_array_equal(network(images).logits.numpy(), logits.numpy())


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        (MobileNetV3(size="small", scale=0.5), 288),
        (MobileNetV3(size="large", scale=1.0), 960),
        (ResNet34VD(), 512),
    ],
)
def test_backbones_keep_half_the_width(backbone: nn.Layer, channels: int) -> None:
    assert backbone.out_channels == channels
    assert backbone(noise(1, 3, 32, 40)).shape == [1, channels, 2, 20]


def test_parameter_counts_are_those_of_the_papers() -> None:
    # The published ones without their last layers; those MobileNets round the widths inside their
    # channel gates to multiples of 8, and plain ResNet-34 has another stem and shortcut.
    assert count(MobileNetV3(size="large", scale=1.0)) == pytest.approx(2_971_952, rel=1e-3)
    assert count(MobileNetV3(size="small", scale=1.0)) == pytest.approx(927_008, rel=7e-3)
    assert count(ResNet34VD()) == pytest.approx(21_284_672, rel=1e-3)


def test_scaled_widths_are_multiples_of_eight_and_not_far_below() -> None:
    assert [scaled(c, 0.5) for c in (16, 24, 72, 88, 960)] == [8, 16, 40, 48, 480]
    assert scaled(4, 0.5) == 8
    assert scaled(24, 0.8) == 24  # 19.2 rounds to 16, more than a tenth below


@pytest.mark.parametrize(
    ("backbone", "tolerance"),
    [("mobile", 1e-5), ("resnet", 3e-5)],  # 36 convolutions in a row round more
)
def test_folding_keeps_the_function(backbone: str, tolerance: float) -> None:
    network = trained(backbone)
    images = noise(2, 3, 32, 48, seed=99)
    before = network.predict(images).numpy()
    fold(network)
    assert not [layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    difference = np.abs(network.predict(images).numpy() - before).max()
    assert difference <= tolerance * np.abs(before).max()


def test_each_weight_has_one_name() -> None:
    network = CRNN(backbone="mobile", classes=CHARSET.classes)
    assert len(network.state_dict()) == len(network.parameters())
    names = [name for name in network.state_dict() if "lstm" in name]
    assert len(names) == 16  # 2 layers, 2 directions, 2 weights and 2 biases
    other = CRNN(backbone="mobile", classes=CHARSET.classes)
    other.set_state_dict({name: tensor.numpy() for name, tensor in network.state_dict().items()})
    images = noise(1, 3, 32, 32)
    for each in (network, other):
        each.eval()
    np.testing.assert_array_equal(network.predict(images).numpy(), other.predict(images).numpy())


def test_every_time_step_sees_both_ends_of_the_line() -> None:
    # The encoder alone: the channel gates of the backbone see the whole line anyway.
    paddle.seed(4)
    encoder = SequenceEncoder(6, 5)
    features = noise(1, 6, 1, 9).numpy()
    middle = encoder(paddle.to_tensor(features)).numpy()[0, 4]
    for end in (0, 8):
        changed = features.copy()
        changed[..., end] += 3
        other = encoder(paddle.to_tensor(changed)).numpy()[0, 4]
        assert np.abs(other - middle).max() > 1e-6


def test_convolutions_start_from_kaiming() -> None:
    paddle.seed(1)
    network = CRNN(backbone="mobile", classes=CHARSET.classes)
    for layer in network.sublayers():
        if isinstance(layer, nn.Conv2D) and layer.weight.size > 500:
            fan_in = int(np.prod(layer.weight.shape[1:]))  # a depthwise one: its kernel alone
            assert float(layer.weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.2)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"CRNN backbone 'vgg'; allowed: mobile, resnet"):
        CRNN(backbone="vgg", classes=9)
    with pytest.raises(WeightsError, match=r"MobileNetV3 size 'tiny'; allowed: large, small"):
        MobileNetV3(size="tiny")


def drawn_line(text: str) -> NDArray[np.float32]:
    """``[3, 32, 64]``, as ``RecImageSpec`` normalises it."""
    canvas = np.full((32, 64, 3), 255, np.uint8)
    cv2.putText(canvas, text, (3, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
    return canvas.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1


def test_it_learns_four_drawn_lines() -> None:
    paddle.seed(0)
    texts = ["123", "406", "789", "255"]
    network = CRNN(backbone="mobile", classes=CHARSET.classes)
    images = paddle.to_tensor(np.stack([drawn_line(text) for text in texts]))
    labels = paddle.to_tensor(np.array([CHARSET.encode(text) for text in texts], np.int32))
    optimizer = paddle.optimizer.Adam(3e-3, parameters=network.parameters())
    steps = paddle.full([4], 64 // TIME_STRIDE, dtype="int64")
    for _ in range(90):
        logits = network(images).logits.transpose([1, 0, 2])  # [T, N, K]
        loss = F.ctc_loss(logits, labels, steps, paddle.full([4], 3, dtype="int64"))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    network.eval()
    probs = F.softmax(network.predict(images), axis=-1).numpy()
    assert [line.text for line in decode_greedy(probs, CHARSET)] == texts


class Served(nn.Layer):
    def __init__(self, network: CRNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.predict(images)


@pytest.mark.parametrize("backbone", ["mobile", pytest.param("resnet", marks=pytest.mark.slow)])
def test_the_exported_program_says_the_same_at_any_width_and_batch(
    backbone: str, tmp_path: Path
) -> None:
    network = trained(backbone)
    fold(network)
    served = Served(network)
    served.eval()
    sizes = [(1, 64), (3, 64), (3, 160), (1, 160)]
    images = [noise(batch, 3, 32, width, seed=batch + width) for batch, width in sizes]
    expected = [network.predict(each).numpy() for each in images]
    program = paddle.jit.to_static(
        served, input_spec=[InputSpec([None, 3, 32, None], "float32", "images")], full_graph=True
    )
    paddle.jit.save(program, str(tmp_path / "inference"))
    engine = PaddleEngine(tmp_path, EngineConfig())
    for each, logits in zip(images, expected, strict=True):
        assert np.ptp(logits) > 0.1
        np.testing.assert_allclose(engine.run(each.numpy()), logits, rtol=0, atol=1e-4)
