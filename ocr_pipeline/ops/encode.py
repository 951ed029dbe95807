"""Pixels to encoded bytes."""

import cv2

from ocr_pipeline.errors import ImageError
from ocr_pipeline.ops.decode import BGRImage


def encode_jpeg(image: BGRImage, quality: int = 85) -> bytes:
    """Return a picture as a JPEG file.

    Args:
        image: ``[H, W, 3]`` uint8 BGR, sides at most 65,500 px.
        quality: from 1 to 100.

    Raises:
        ImageError: a side is longer than a JPEG can be.
    """
    height, width = image.shape[:2]
    if max(height, width) > 65_500:
        raise ImageError(
            f"a picture of {width} x {height} px is no JPEG: a side has at most 65,500 px; "
            "make it smaller"
        )
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()
