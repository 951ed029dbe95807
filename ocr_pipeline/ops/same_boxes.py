"""Whether two readings of a page found the same regions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def same_boxes(
    found: Sequence[NDArray[np.floating]], expected: Sequence[NDArray[np.floating]], limit: float
) -> bool:
    """Tell whether each box has its counterpart, in any order.

    Args:
        found, expected: each ``[4, 2]`` (x, y) px, corners in the same order.
        limit: largest distance of a coordinate between counterparts, px.
    """
    if len(found) != len(expected):
        return False
    left = list(found)
    for box in expected:
        distances = [float(np.abs(other - box).max()) for other in left]
        nearest = int(np.argmin(distances))
        if distances[nearest] > limit:
            return False
        del left[nearest]
    return True
