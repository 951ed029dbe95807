"""Read a line upside-down too, where it is not sure as it stands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocr_pipeline.config.orientation import OrientationConfig
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.ctc import TextLine
from ocr_pipeline.ops.decode import BGRImage


@dataclass(frozen=True)
class OrientedLine(TextLine):
    """One recognised line.

    Attributes:
        turned: read after a half turn, because the line stood upside-down.
    """

    turned: bool = False


class TurningRecognizer(Recognizer):
    """A recognizer that gives unsure lines a second reading, turned by 180 degrees.

    Args:
        recognizer: reads both ways.
        config: when to read twice, and which reading to take.
    """

    def __init__(self, recognizer: Recognizer, config: OrientationConfig) -> None:
        super().__init__(
            recognizer.engine, recognizer.spec, recognizer.charset, batch=recognizer.batch
        )
        self.config = config

    def recognize(
        self, lines: Sequence[BGRImage], *, emissions: bool = False
    ) -> list[OrientedLine]:
        """See :meth:`Recognizer.recognize`; what is read on a line follows from it alone.

        The emissions of a turned line are those of the turned picture.
        """
        upright = super().recognize(lines, emissions=emissions)
        results = [OrientedLine(line.text, line.confidence, line.emissions) for line in upright]
        unsure = [
            index
            for index, line in enumerate(upright)
            if self.config.enabled and line.confidence < self.config.unsure_below
        ]
        turned = super().recognize([turn(lines[index]) for index in unsure], emissions=emissions)
        for index, line in zip(unsure, turned, strict=True):
            # Where nothing is read upright there is rarely text at all: only a sure reading counts.
            empty = not upright[index].text
            needed = self.config.unsure_below if empty else self.config.margin
            if line.confidence > upright[index].confidence + needed:
                results[index] = OrientedLine(
                    line.text, line.confidence, line.emissions, turned=True
                )
        return results


def turn(image: BGRImage) -> BGRImage:
    """Turn ``[h, w, 3]`` uint8 BGR by 180 degrees."""
    return np.ascontiguousarray(image[::-1, ::-1])
