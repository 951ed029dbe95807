import numpy as np
import pytest

from ocr_pipeline.config.image import DetImageSpec, RecImageSpec
from ocr_pipeline.ops.resize import det_input, det_size, rec_input, rec_width

DET = DetImageSpec()
REC = RecImageSpec(height=48, min_width=320, width_step=64, max_width=640)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((640, 960), (640, 960)),
        ((650, 950), (640, 960)),
        ((30, 300), (64, 640)),
        ((1, 1), (64, 64)),
        ((5000, 8000), (2496, 4000)),
        ((20, 8000), (32, 4000)),
        ((8000, 20), (4000, 32)),
    ],
)
def test_detector_size(source: tuple[int, int], expected: tuple[int, int]) -> None:
    assert det_size(*source, DET) == expected


def test_detector_sizes_are_multiples_within_the_limits() -> None:
    random = np.random.default_rng(0)
    for height, width in random.integers(1, 12_000, (500, 2)).tolist():
        size = det_size(height, width, DET)
        assert all(side % 32 == 0 and 32 <= side <= 4000 for side in size), (height, width, size)


def test_detector_keeps_the_aspect_ratio_up_to_rounding() -> None:
    random = np.random.default_rng(1)
    for height, width in random.integers(400, 12_000, (200, 2)).tolist():
        scaled_height, scaled_width = det_size(height, width, DET)
        scale = min(1.0, 4000 / max(height, width))
        assert abs(scaled_height - height * scale) <= 17
        assert abs(scaled_width - width * scale) <= 17


def test_detector_limits_come_from_the_spec() -> None:
    assert det_size(1000, 2000, DetImageSpec(max_side=640)) == (320, 640)
    assert det_size(100, 200, DetImageSpec(min_side=320)) == (320, 640)


def test_detector_input_is_normalised_by_channel_in_bgr_order() -> None:
    image = np.full((64, 96, 3), (10, 120, 250), dtype=np.uint8)
    out = det_input(image, DET)
    assert out.shape == (1, 3, 64, 96)
    assert out.dtype == np.float32
    for channel, value in enumerate((10, 120, 250)):
        expected = (value / 255 - DET.mean[channel]) / DET.std[channel]
        np.testing.assert_allclose(out[0, channel], expected, atol=1e-5)


def test_detector_input_of_an_odd_size_is_scaled() -> None:
    assert det_input(np.zeros((70, 200, 3), np.uint8), DET).shape == (1, 3, 64, 192)


@pytest.mark.parametrize(
    ("width", "scaled", "bucket"),
    [
        (1, 1, 320),
        (319, 319, 320),
        (320, 320, 320),
        (321, 321, 384),
        (384, 384, 384),
        (385, 385, 448),
        (640, 640, 640),
        (641, 640, 640),
        (90_000, 640, 640),
    ],
)
def test_line_width_goes_to_the_next_bucket(width: int, scaled: int, bucket: int) -> None:
    assert rec_width(48, width, REC) == (scaled, bucket)


def test_line_width_is_rounded_up_at_line_height() -> None:
    assert rec_width(24, 100, REC) == (200, 320)
    assert rec_width(100, 1001, REC) == (481, 512)
    assert rec_width(2000, 1, REC) == (1, 320)


def test_widest_bucket_is_the_limit_even_off_the_grid() -> None:
    spec = RecImageSpec(min_width=320, width_step=64, max_width=400)
    assert rec_width(48, 390, spec) == (390, 400)
    assert rec_width(48, 500, spec) == (400, 400)


def test_line_input_depends_on_the_line_alone() -> None:
    random = np.random.default_rng(0)
    lines = [
        random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for height, width in [(20, 40), (48, 500), (48, 40), (96, 700)]
    ]
    forwards = [rec_input(line, REC) for line in lines]
    backwards = [rec_input(line, REC) for line in reversed(lines)][::-1]
    assert [out.shape[2] for out in forwards] == [320, 512, 320, 384]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)


def test_line_input_is_padded_with_0_on_the_right_only() -> None:
    out = rec_input(np.full((48, 100, 3), 255, np.uint8), REC)
    assert out.shape == (3, 48, 320)
    assert out.dtype == np.float32
    assert (out[:, :, :100] == 1).all()
    assert (out[:, :, 100:] == 0).all()


def test_line_input_goes_from_minus_1_to_1_in_bgr_order() -> None:
    image = np.zeros((48, 320, 3), np.uint8)
    image[:, :, 1] = 255
    image[:, :, 2] = 51
    out = rec_input(image, REC)
    assert (out[0] == -1).all()
    assert (out[1] == 1).all()
    np.testing.assert_allclose(out[2], -0.6, atol=1e-6)


def test_line_longer_than_the_widest_bucket_is_squeezed_into_it() -> None:
    image = np.zeros((48, 1280, 3), np.uint8)
    image[:, 640:] = 255
    out = rec_input(image, REC)
    assert out.shape == (3, 48, 640)
    assert (out[:, :, :318] == -1).all()
    assert (out[:, :, 322:] == 1).all()


def test_rounding_stays_within_the_limits() -> None:
    assert det_size(1008, 2016, DetImageSpec(max_side=1008))[1] <= 1008
    assert det_size(10, 4000, DetImageSpec(multiple=64))[0] % 64 == 0
