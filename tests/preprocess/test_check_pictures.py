import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ocr_pipeline.ops.decode import decode_image
from ocr_pipeline.preprocess.check_pictures import exif_orientation

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
)


def encoded(kind: str, orientation: int) -> bytes:
    """A picture of 40 x 90 px whose orientation stands in XMP alone."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 40, 3), np.uint8))
    buffer = io.BytesIO()
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", (XMP % orientation).decode(), zip=True)
        picture.save(buffer, kind, pnginfo=info)
    else:
        picture.save(buffer, kind, xmp=XMP % orientation)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("orientation", "size"), [(1, (90, 40)), (3, (90, 40)), (6, (40, 90))])
def test_an_orientation_in_xmp_is_that_of_the_decoder(
    kind: str, orientation: int, size: tuple[int, int]
) -> None:
    content = encoded(kind, orientation)
    assert exif_orientation(content) == orientation
    assert decode_image(content).shape[:2] == size
