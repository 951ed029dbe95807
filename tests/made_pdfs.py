"""PDF files written by hand, object by object."""

import zlib

A4 = (595, 842)


def pdf(*objects: bytes) -> bytes:
    """A PDF of numbered objects, from 1; the first is the catalogue."""
    content = b"%PDF-1.7\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(places) + 1
    end = len(content)
    return content + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Root 1 0 R/Size %d>>\n"
        b"startxref\n%d\n%%%%EOF" % (size, table, size, end)
    )


def stream(body: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(body), body)


def one_page(
    drawing: bytes = b"",
    size: tuple[float, float] = A4,
    resources: bytes = b"",
    *more: bytes,
    page: bytes = b"",
    catalogue: bytes = b"",
) -> bytes:
    """A document of one page; ``more`` are objects 5, 6, ..."""
    box = b"[0 0 %g %g]" % size
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalogue,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox%s/Contents 4 0 R/Resources<<%s>>%s>>"
        % (box, resources, page),
        stream(drawing),
        *more,
    )


def grey_pages(*greys: float) -> bytes:
    """Pages of 72 x 36 points, each filled with one grey."""
    count = len(greys)
    kids = b" ".join(b"%d 0 R" % (3 + 2 * place) for place in range(count))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d/MediaBox[0 0 72 36]>>" % (kids, count),
    ]
    for place, grey in enumerate(greys):
        objects.append(b"<</Type/Page/Parent 2 0 R/Contents %d 0 R>>" % (4 + 2 * place))
        objects.append(stream(b"%g g 0 0 72 36 re f" % grey))
    return pdf(*objects)


def blank_picture(width: int, height: int, entries: bytes = b"", *, colour: bool = True) -> bytes:
    """An image object of zeros, some kB whatever its size."""
    space, channels = (b"/DeviceRGB", 3) if colour else (b"/DeviceGray", 1)
    packer = zlib.compressobj(1)
    left, parts, block = width * height * channels, [], bytes(2**22)
    while left > 0:
        parts.append(packer.compress(block[:left]))
        left -= len(block)
    body = b"".join([*parts, packer.flush()])
    return stream(
        body,
        b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace%s/BitsPerComponent 8"
        b"/Filter/FlateDecode%s" % (width, height, space, entries),
    )


def with_picture(*images: bytes) -> bytes:
    """An A4 page that is one picture; further objects may be its mask."""
    return one_page(b"q 595 0 0 842 0 0 cm /I Do Q", A4, b"/XObject<</I 5 0 R>>", *images)
