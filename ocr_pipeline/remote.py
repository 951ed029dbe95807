"""Reading by a service, with the results that a reader here gives."""

import cv2
import numpy as np

from ocr_pipeline.client import Line, OcrClient, OcrServiceError, Page, Part
from ocr_pipeline.errors import ImageError
from ocr_pipeline.inference.reader import LinePart, PageText, ReadLine
from ocr_pipeline.ops.decode import BGRImage

_OF_THE_FILE = (413, 415, 422)


class RemoteReader:
    """Stands for an :class:`~ocr_pipeline.inference.OcrReader` elsewhere.

    Args:
        client: of the service that reads.
    """

    def __init__(self, client: OcrClient) -> None:
        self._client = client

    def read(self, picture: BGRImage | bytes, *, words: bool = False) -> PageText:
        """Read one picture.

        Args:
            picture: the bytes of a file, or pixels ``[H, W, 3]`` uint8 BGR, which are sent as PNG.
            words: say where each word and character stands, too.

        Raises:
            ImageError: the service refuses the picture.
            OcrServiceError: it fails.
            OcrConnectionError: it cannot be reached, or does not answer in time.
        """
        content = picture if isinstance(picture, bytes) else _png(picture)
        try:
            [page] = self._client.read(content, words=words).pages
        except OcrServiceError as error:
            if error.status in _OF_THE_FILE:
                raise ImageError(f"the service refuses it: {error}") from None
            raise
        return page_text(page)


def page_text(page: Page) -> PageText:
    """What a service has read, as the rest of this package takes it."""
    return PageText(
        lines=[_line(line) for line in page.lines],
        width=page.width,
        height=page.height,
        dropped=dict(page.dropped),
        milliseconds=dict(page.milliseconds),
    )


def _line(line: Line) -> ReadLine:
    return ReadLine(
        text=line.text,
        confidence=line.confidence,
        points=np.array(line.points, np.float32),
        score=line.score,
        row=line.row,
        turned=line.turned,
        words=_parts(line.words),
        characters=_parts(line.characters),
    )


def _parts(parts: tuple[Part, ...] | None) -> tuple[LinePart, ...] | None:
    if parts is None:
        return None
    return tuple(
        LinePart(part.text, part.confidence, np.array(part.points, np.float32)) for part in parts
    )


def _png(pixels: BGRImage) -> bytes:
    _, content = cv2.imencode(".png", pixels)
    return content.tobytes()
