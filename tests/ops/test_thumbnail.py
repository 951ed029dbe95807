import base64

import cv2
import numpy as np

from ocr_pipeline.ops.thumbnail import Drawn, data_uri, page_thumbnail, thumbnail

RED = (0, 0, 255)
SQUARE = ((100.0, 50.0), (200.0, 50.0), (200.0, 150.0), (100.0, 150.0))


def test_a_picture_fits_the_page() -> None:
    assert thumbnail(np.zeros((48, 3000, 3), np.uint8), None).shape == (5, 320, 3)
    assert thumbnail(np.zeros((10, 20, 3), np.uint8), None).shape == (40, 80, 3)  # at most 4 times
    assert thumbnail(np.zeros((4000, 10, 3), np.uint8), None).shape == (200, 1, 3)


def test_outlines_are_drawn_where_they_lie() -> None:
    small = page_thumbnail(
        np.zeros((600, 1200, 3), np.uint8), [Drawn(SQUARE, RED)], size=(600, 600)
    )
    assert small.shape == (300, 600, 3)
    assert small[50, 50].tolist() == list(RED)
    assert small[50, 75].tolist() == [0, 0, 0]


def test_outlines_that_are_no_numbers_are_left_out() -> None:
    page = np.zeros((60, 60, 3), np.uint8)
    wild = ((float("nan"), 0.0), (1e30, 5.0), (3.0, 4.0))
    assert not page_thumbnail(page, [Drawn(wild, RED)]).any()
    assert thumbnail(page, wild).shape == (200, 200, 3)


def test_a_data_uri_is_a_jpeg() -> None:
    uri = data_uri(np.full((8, 8, 3), 200, np.uint8))
    assert uri is not None
    head, content = uri.split(",")
    assert head == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (8, 8, 3)
