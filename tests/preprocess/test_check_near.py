import tracemalloc

import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.preprocess.check_near import (
    difference,
    find_near,
    find_near_between,
    link_near,
)
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


def alike(count: int, start: int = 0, look: int = 5) -> list[Checked]:
    """Pictures of one thing by a fixed camera."""
    random = np.random.default_rng(start)
    noise = random.integers(-2, 3, (count, 12, 48))
    many = np.clip(thumbs(1)[0].astype(int) + noise, 0, 255).astype(np.uint8)
    return [item(start + n, look, thumb) for n, thumb in enumerate(many)]


@pytest.mark.parametrize(("first", "second"), [(60, 20), (1200, 600)])
def test_of_many_like_pictures_each_one_of_the_other_part_is_found(first: int, second: int) -> None:
    one, other = alike(first), alike(second, 10_000)
    assert sorted(find_near_between(one, other, bits=6, limit=0.45)) == list(range(first))
    assert find_near_between(one, [], bits=6, limit=0.45) == {}
    assert find_near_between([], other, bits=6, limit=0.45) == {}


def test_a_crowd_of_like_pictures_hangs_together() -> None:
    links = link_near(alike(3000), bits=6, limit=0.45)
    assert len(links) == 2999
    bundle = {0}
    for low, high in sorted(links, key=lambda link: link[::-1]):
        assert low < high
        bundle |= {low, high} if {low, high} & bundle else set()
    assert len(bundle) == 3000


def scattered(count: int, start: int) -> list[Checked]:
    """Pictures of 40 things whose hashes lie around 6 ones, in two widths."""
    random = np.random.default_rng(start)
    faces = thumbs(40)
    items = []
    for n in range(count):
        look = 0x0F0F << int(random.integers(0, 6))
        for bit in random.choice(64, int(random.integers(0, 5)), replace=False).tolist():
            look ^= 1 << bit
        face = faces[int(random.integers(40))]
        noisy = np.clip(face + random.normal(0, 6, face.shape), 0, 255).astype(np.uint8)
        items.append(item(start + n, look, noisy))
    return items


def test_what_is_found_block_by_block_is_what_a_full_comparison_finds() -> None:
    one, other = scattered(400, 0), scattered(300, 10_000)

    def near(a: Checked, b: Checked) -> bool:
        return bin(a.look ^ b.look).count("1") <= 6 and difference(a, b) <= 0.45

    expected = {n for n, a in enumerate(one) if any(near(a, b) for b in other)}
    found = find_near_between(one, other, bits=6, limit=0.45)
    assert set(found) == expected
    assert 0 < len(expected) < 400
    assert all(near(one[a], other[b]) for a, b in found.items())

    bundle = list(range(400))

    def join(pairs: list[tuple[int, int]]) -> list[int]:
        joined = bundle.copy()
        for a, b in pairs:
            joined = [joined[a] if n == joined[b] else n for n in joined]
        names: dict[int, int] = {}
        return [names.setdefault(n, len(names)) for n in joined]

    every = [(a, b) for b in range(400) for a in range(b) if near(one[a], one[b])]
    links = link_near(one, bits=6, limit=0.45)
    assert join(links) == join(every)
    assert len(links) == 400 - len(set(join(every)))
    assert 0 < len(links) < len(every)


def test_equal_pixels_are_one_picture_between_parts() -> None:
    one = alike(2)
    other = [item(77, 5, thumbs(1)[0])]
    assert find_near_between([*one, one[0]], other, bits=6, limit=0.45) == {0: 0, 1: 0, 2: 0}
    assert link_near([one[0], one[0], one[1]], bits=6, limit=0.45) == [(0, 2)]
    assert link_near([], bits=6, limit=0.45) == []


def test_thousands_of_unlike_pictures_of_one_hash_take_bounded_memory() -> None:
    many = np.random.default_rng(1).integers(0, 255, (3000, 12, 12)).astype(np.uint8)
    items = [item(n, 5, thumb) for n, thumb in enumerate(many)]
    items[2700] = item(2700, 5, many[3])
    tracemalloc.start()
    try:
        assert link_near(items, bits=6, limit=0.1) == [(3, 2700)]
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
