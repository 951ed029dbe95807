import numpy as np

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.preprocess.check_near import difference, find_near
from ocr_pipeline.preprocess.check_types import Checked


def item(number: int, look: int, thumb: np.ndarray, size: tuple[int, int] = (24, 96)) -> Checked:
    sample = RecSample(f"{number}.png", str(number), *size)
    pixels = number.to_bytes(16, "big")
    return Checked(sample, f"l:{number}", pixels, look, None, thumb.tobytes(), thumb.shape[1])


def thumbs(count: int, width: int = 48) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (count, 12, width)).astype(np.uint8)


def test_pairs_are_those_of_a_full_comparison() -> None:
    random = np.random.default_rng(0)
    thumb = thumbs(1)[0]
    looks = []
    for base in random.integers(0, 2**63, 12).tolist():
        for _ in range(12):
            flips = random.choice(64, int(random.integers(0, 7)), replace=False)
            looks.append(base ^ sum(1 << int(bit) for bit in flips))
    items = [item(n, look, thumb) for n, look in enumerate(looks)]
    for bits in (0, 3, 6, 11):
        full = [
            (a, b)
            for a in range(len(looks))
            for b in range(a + 1, len(looks))
            if bin(looks[a] ^ looks[b]).count("1") <= bits
        ]
        assert find_near(items, bits=bits, limit=0.1) == full
        assert full or bits == 0


def test_thumbnails_decide_among_like_hashes() -> None:
    first, other = thumbs(2)
    spot = first.copy()
    spot[3:6, 20:23] = 255 - spot[3:6, 20:23]  # as where one character differs
    brighter = (first.astype(float) * 0.8 + 30).astype(np.uint8)
    items = [item(n, 7, t) for n, t in enumerate((first, other, spot, brighter))]
    assert find_near(items, bits=6, limit=0.45) == [(0, 3)]
    assert difference(items[0], items[3]) < 0.05
    assert difference(items[0], items[2]) > 1


def test_equal_pixels_and_other_shapes_are_no_near_pairs() -> None:
    thumb = thumbs(1)[0]
    same = item(1, 7, thumb)
    assert find_near([same, same], bits=6, limit=0.45) == []
    assert find_near([same, item(2, 7, thumb, (24, 110))], bits=6, limit=0.45) == []
    assert find_near([same, item(2, 7, thumb, (48, 190))], bits=6, limit=0.45) == [(0, 1)]
    assert find_near([], bits=6, limit=0.45) == []


def test_thumbnails_of_slightly_other_widths_are_fitted() -> None:
    smooth = np.tile(np.linspace(10, 240, 48).astype(np.uint8), (12, 1))
    wider = np.tile(np.linspace(10, 240, 49).astype(np.uint8), (12, 1))
    items = [item(1, 7, smooth), item(2, 7, wider, (24, 98))]
    assert find_near(items, bits=6, limit=0.2) == [(0, 1)]


def test_thousands_of_like_pictures_stay_affordable() -> None:
    """Each is compared with some that follow it only: this pair is among these."""
    many = np.random.default_rng(1).integers(0, 255, (1500, 12, 12)).astype(np.uint8)
    items = [item(n, 5, thumb) for n, thumb in enumerate(many)]
    items[700] = item(700, 5, many[699])
    assert find_near(items, bits=6, limit=0.1) == [(699, 700)]
