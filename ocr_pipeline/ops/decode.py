"""Encoded bytes to pixels: the one place where pictures are decoded."""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import ImageError, ImageTooLargeError, UnsupportedImageError

BGRImage = NDArray[np.uint8]
"""A picture: ``[H, W, 3]`` uint8, channels blue, green, red."""

# What Pillow raises on damaged files, found by fuzzing: its parsers trust offsets and types.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
)
_ORIENTATION = 0x0112
"""EXIF tag; 1 is upright."""
_JPEG_END = b"\xff\xd9"
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_COUNTED_FRAMES = 1000
"""Frames that a message counts; a TIFF of 20 MB may have millions."""


def read_image(path: Path, limits: ImageLimits | None = None) -> BGRImage:
    """Read and decode one picture file; see :func:`decode_image`.

    Raises:
        ImageError: the file cannot be read, or its content is refused; the message starts with
            the path.
    """
    limits = limits or ImageLimits()
    content = read_file(path, limits.max_bytes)
    try:
        return decode_image(content, limits)
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from None


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file that is not too large.

    Raises:
        ImageError: it cannot be read.
        ImageTooLargeError: it is larger than ``max_bytes``.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ImageTooLargeError(f"{path}: {_too_many_bytes(size, max_bytes)}")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"{path}: cannot read this picture ({error.strerror}); check the path and the rights"
        ) from None


def decode_image(content: bytes, limits: ImageLimits | None = None) -> BGRImage:
    """Decode a picture as a person sees it.

    EXIF orientation is applied; CMYK is converted; 16-bit grey is scaled to 8 bit; what is
    transparent becomes white paper. Size limits are checked on the header, before decoding.

    Args:
        content: a whole JPEG, PNG, BMP, WebP or TIFF file.
        limits: bytes and pixels allowed.

    Returns:
        ``[H, W, 3]`` uint8, BGR, H and W at least 1.

    Raises:
        ImageTooLargeError: more bytes or pixels than ``limits`` allow.
        UnsupportedImageError: not a picture of an accepted format.
        ImageError: empty, cut off, damaged, or several frames.
    """
    limits = limits or ImageLimits()
    check_bytes(content, limits)
    with open_picture(content, limits) as picture:
        check_size(picture.width, picture.height, limits)
        if (quick := _decode_plain_jpeg(picture, content)) is not None:
            return quick
        with _undamaged(picture):
            _check_frames(picture, content)
        return _pixels(picture)


def decode_frame(content: bytes, frame: int, limits: ImageLimits) -> BGRImage:
    """Decode one frame of a TIFF as :func:`decode_image` decodes a picture.

    Args:
        content: a whole TIFF file.
        frame: from 0, below :func:`count_frames`.
        limits: of the file and of this frame.

    Raises:
        ImageTooLargeError, UnsupportedImageError, ImageError: as ``decode_image``.
    """
    check_bytes(content, limits)
    with open_picture(content, limits) as picture:
        with _undamaged(picture):
            picture.seek(frame)
        check_size(picture.width, picture.height, limits)
        return _pixels(picture)


def count_frames(content: bytes, at_most: int) -> int:
    """Frames of a TIFF or BigTIFF, by the chain of its directories alone; no tag is read.

    A chain that comes back to itself ends there. Counting stops at ``at_most``.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    first, count, entry, pointer = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(order + pointer, content, first)
        while offset and offset not in seen and len(seen) < at_most:
            seen.add(offset)
            (entries,) = struct.unpack_from(order + count, content, offset)
            after = offset + struct.calcsize(f"<{count}") + entries * entry
            (offset,) = struct.unpack_from(order + pointer, content, after)
    except (struct.error, OverflowError, IndexError):
        pass  # cut off: reading the last frame says so
    return len(seen)


def _pixels(picture: Image.Image) -> BGRImage:
    """Of the present frame, upright."""
    with _undamaged(picture):
        picture.load()
        rgb = _to_rgb(ImageOps.exif_transpose(picture))
    return np.ascontiguousarray(rgb[:, :, ::-1])


@contextmanager
def _undamaged(picture: Image.Image) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ImageError(
            f"{picture.format} of {picture.width} x {picture.height} px: the data is cut off "
            f"or damaged ({error}); send the complete file"
        ) from None


def _decode_plain_jpeg(picture: Image.Image, content: bytes) -> BGRImage | None:
    """The pixels of an ordinary, whole JPEG, several times as fast; None: take the other way.

    OpenCV does not tell when a file is cut off, so it must end with the end marker.
    """
    plain = picture.format == "JPEG" and picture.mode in ("RGB", "L")
    if not plain or not content.endswith(_JPEG_END) or not _is_upright(picture):
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    if decoded is None or decoded.shape != (picture.height, picture.width, 3):
        return None
    return np.asarray(decoded, dtype=np.uint8)


def _is_upright(picture: Image.Image) -> bool:
    """Whether neither EXIF nor XMP says that the picture is to be turned."""
    if not {"exif", "xmp"} & picture.info.keys():
        return True
    try:
        return bool(picture.getexif().get(_ORIENTATION, 1) == 1)
    except _DAMAGE:
        return False  # the slow way says what is wrong


def open_picture(
    content: bytes, limits: ImageLimits, allowed: Sequence[str] = FORMATS
) -> Image.Image:
    """Read the header of a picture.

    Args:
        content: a whole file.
        limits: pixels allowed, for the message.
        allowed: kinds of file that the message names.

    Raises:
        ImageTooLargeError: so many pixels that Pillow refuses them.
        UnsupportedImageError: not a picture of an accepted format.
    """
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"the picture is too large ({error}); allowed: {limits.max_pixels:,} px. "
            "Make it smaller or cut it into parts"
        ) from None
    except (UnidentifiedImageError, *_DAMAGE):
        raise UnsupportedImageError(
            f"not a picture ({len(content):,} bytes, first bytes {content[:8]!r}); allowed: "
            f"{', '.join(allowed)}"
        ) from None


def check_bytes(content: bytes, limits: ImageLimits, allowed: Sequence[str] = FORMATS) -> None:
    """Raise ImageError for an empty file, ImageTooLargeError for one of too many bytes."""
    if not content:
        raise ImageError(f"the picture is empty (0 bytes); send a {', '.join(allowed)} file")
    if len(content) > limits.max_bytes:
        raise ImageTooLargeError(_too_many_bytes(len(content), limits.max_bytes))


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    """Raise ImageTooLargeError for more pixels, or a longer side, than allowed."""
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageTooLargeError(
            f"the picture has {width} x {height} px = {width * height:,} px; allowed: "
            f"{limits.max_pixels:,} px and {limits.max_side:,} px a side. "
            "Make it smaller or cut it into parts"
        )


def _check_frames(picture: Image.Image, content: bytes) -> None:
    if picture.format == "TIFF":
        frames = count_frames(content, _COUNTED_FRAMES)
        if frames > 1:
            picture.seek(1)  # raises where the second directory is none: damage, not a frame
    else:
        frames = getattr(picture, "n_frames", 1)
    # An MPO file is a camera's JPEG with a second, derived picture behind it.
    if frames > 1 and picture.format != "MPO":
        more = " or more" if frames == _COUNTED_FRAMES else ""
        raise ImageError(
            f"{picture.format} with {frames}{more} frames; allowed: 1. "
            "Split it into single pictures"
        )


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith(("I", "F")):
        return _grey16_to_rgb(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(paper, layer)
    return np.asarray(picture.convert("RGB"))


def _grey16_to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(picture)
    if values.dtype.kind == "f" or (values.size and (values.min() < 0 or values.max() > 65535)):
        raise ImageError(
            f"a picture of mode {picture.mode}; allowed: 8 or 16 bits a channel. Convert it"
        )
    grey = (values.astype(np.uint32) >> 8).astype(np.uint8)
    if (clear := picture.info.get("transparency")) is not None:
        grey[values == clear] = 255
    return cast(NDArray[np.uint8], np.repeat(grey[:, :, None], 3, axis=2))


def _too_many_bytes(size: int, allowed: int) -> str:
    return f"the picture has {size:,} bytes; allowed: {allowed:,}. Send a smaller file"
