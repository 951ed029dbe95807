"""A picture being drawn, and where which text stands on it."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.decode import BGRImage

Alpha = NDArray[np.float32]
"""``[H, W]`` float32 in [0, 1]: how much of the picture is covered by ink."""
Colour = tuple[float, float, float]
"""Blue, green, red, 0 to 255."""
IGNORED = "###"
"""Text of a place that detection shall neither learn nor be blamed for."""


@dataclass(frozen=True)
class Mark:
    """One piece of text on a picture.

    Attributes:
        points: ``[P, 2]`` float32 (x, y) px, clockwise from the text's top-left as it stands.
        text: what stands there; ``IGNORED`` for a place to be left out.
        over: whether it was stamped, perhaps over other text.
    """

    points: NDArray[np.float32]
    text: str
    over: bool = False

    @property
    def ignored(self) -> bool:
        return self.text == IGNORED


@dataclass
class Sheet:
    """What is drawn on.

    Attributes:
        picture: ``[H, W, 3]`` float32 BGR, 0 to 255.
        marks: texts in the order of drawing.
    """

    picture: NDArray[np.float32]
    marks: list[Mark] = field(default_factory=list)

    @property
    def height(self) -> int:
        return int(self.picture.shape[0])

    @property
    def width(self) -> int:
        return int(self.picture.shape[1])

    def lay(self, alpha: Alpha, left: int, top: int, colour: Colour) -> None:
        """Cover a part with one colour; what stands over the edge is cut."""
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + alpha.shape[1], self.width), min(top + alpha.shape[0], self.height)
        if x1 <= x0 or y1 <= y0:
            return
        cover = alpha[y0 - top : y1 - top, x0 - left : x1 - left, None]
        part = self.picture[y0:y1, x0:x1]
        part += (np.asarray(colour, np.float32) - part) * cover

    def write(
        self, alpha: Alpha, left: int, top: int, colour: Colour, text: str, *, angle: float = 0.0
    ) -> bool:
        """Lay ink and mark it as text, when it stands on the sheet as a whole.

        Args:
            alpha: ink of the text without empty rows or columns around it.
            left: of the ink before turning, px.
            top: of the ink before turning, px.
            colour: of the ink.
            text: what it says.
            angle: turn about its middle, degrees counter-clockwise.

        Returns:
            Whether it was drawn; nothing is where it would be cut off.
        """
        height, width = alpha.shape
        pad = max(1.0, 0.05 * min(height, width))
        points = _rectangle(left - pad, top - pad, left + width + pad, top + height + pad)
        if angle:
            alpha, left, top, matrix = _turned(alpha, left, top, angle)
            points = cv2.transform(points[None], matrix)[0].astype(np.float32)
        low, high = points.min(axis=0), points.max(axis=0)
        if low.min() < 0 or high[0] > self.width - 1 or high[1] > self.height - 1:
            return False
        self.lay(alpha, left, top, colour)
        self.marks.append(Mark(points, text))
        return True

    def rule(
        self, start: tuple[int, int], end: tuple[int, int], colour: Colour, thickness: int
    ) -> None:
        """Draw a straight line between two (x, y)."""
        cv2.line(self.picture, start, end, colour, thickness, cv2.LINE_AA)

    def finished(self) -> BGRImage:
        """The picture as ``[H, W, 3]`` uint8 BGR."""
        return np.asarray(self.picture.clip(0, 255) + 0.5, np.uint8)


def _rectangle(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def _turned(
    alpha: Alpha, left: int, top: int, angle: float
) -> tuple[Alpha, int, int, NDArray[np.float64]]:
    """Turn ink about its middle; also the new place and the matrix for points of the sheet."""
    height, width = alpha.shape
    reach = int(np.ceil(abs(np.sin(np.radians(angle))) * max(height, width))) + 2
    padded = cv2.copyMakeBorder(alpha, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    centre = (reach + (width - 1) / 2, reach + (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
    turned = cv2.warpAffine(padded, matrix, (padded.shape[1], padded.shape[0]))
    to_sheet = cv2.getRotationMatrix2D(
        (centre[0] + left - reach, centre[1] + top - reach), angle, 1
    )
    return (
        np.asarray(turned, np.float32),
        left - reach,
        top - reach,
        np.asarray(to_sheet, np.float64),
    )
