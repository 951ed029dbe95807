"""A network that needs no weights: what it finds can be said beforehand."""

import numpy as np
from numpy.typing import NDArray


class DarkIsText:
    """A detector whose map says where the picture is dark; keeps the shapes that it was given."""

    lanes = 1

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(images.shape)
        return (images[:, :1] < 0).astype(np.float32) * np.float32(1.0000001)
