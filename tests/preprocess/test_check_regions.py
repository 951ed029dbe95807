import numpy as np
import pytest

from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.preprocess.check_regions import Layout, check_outline

SIZE = (100, 200)
KEEP = CheckConfig(policies={"partly_outside": "keep"})


def quad(
    left: float, top: float, width: float = 40, height: float = 20
) -> tuple[tuple[float, float], ...]:
    right, bottom = left + width, top + height
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@pytest.mark.parametrize("config", [CheckConfig(), KEEP])
@pytest.mark.parametrize(
    ("points", "fault"),
    [
        (quad(0, 0, 1e39, 40), "not_finite"),
        (quad(0, 0, 1e38, 40), "partly_outside"),
        (quad(0, 0, 1e7, 40), "partly_outside"),
        (quad(-1e7, -1e7, 2e7, 2e7), "partly_outside"),
        (quad(150, 10, 252), "partly_outside"),
        (quad(1e7, 1e7), "wholly_outside"),
    ],
)
def test_absurd_coordinates_are_refused_under_any_policy(
    points: tuple[tuple[float, float], ...], fault: str, config: CheckConfig
) -> None:
    found = check_outline(points, SIZE, config, turned_is_meant=False)
    assert found.points is None
    assert [(note.fault, note.action) for note in found.notes] == [(fault, "refuse")]


def test_a_little_outside_is_the_policys_to_judge() -> None:
    points = quad(150, 10, 248)
    assert check_outline(points, SIZE, KEEP, turned_is_meant=False).points == points
    clipped = check_outline(points, SIZE, CheckConfig(), turned_is_meant=False).points
    assert clipped == quad(150, 10, 50)


def test_too_many_points_are_refused() -> None:
    angles = np.linspace(0, 2 * np.pi, 2001, endpoint=False)
    ring = np.stack([100 + 40 * np.cos(angles), 50 + 40 * np.sin(angles)], axis=1).tolist()
    points = tuple((float(x), float(y)) for x, y in ring)
    (note,) = check_outline(points, SIZE, CheckConfig(), turned_is_meant=False).notes
    assert (note.fault, note.action) == ("too_many_points", "refuse")
    assert "2,001 points; allowed: 2,000" in note.detail
    assert not check_outline(points[1:], SIZE, CheckConfig(), turned_is_meant=False).notes


def test_layouts_are_compared_in_any_order_and_size() -> None:
    outlines = [quad(10, 30 * n) for n in range(3)]
    layout = Layout(outlines, SIZE)
    twice = [tuple((x * 2, y * 2) for x, y in points) for points in reversed(outlines)]
    assert layout.is_like(Layout(twice, (200, 400)), 0.99)
    near = [quad(12, 30 * n + 1) for n in range(3)]
    assert layout.is_like(Layout(near, SIZE), 0.5)
    assert not layout.is_like(Layout(near, SIZE), 0.95)
    assert not layout.is_like(Layout(outlines[:2], SIZE), 0.5)
    assert not layout.is_like(Layout([*outlines[:2], quad(100, 60)], SIZE), 0.5)
    assert Layout([], SIZE).is_like(Layout([], SIZE), 0.5)
