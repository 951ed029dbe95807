import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from ocr_pipeline.ops.decode import decode_image, read_image

WHITE = [255, 255, 255]


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def noise(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_header_only(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_the_same_pixels_as_bgr(kind: str) -> None:
    rgb = noise()
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode_image(encoded(Image.fromarray(rgb), kind, **options))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, rgb[:, :, ::-1])


def test_jpeg_gives_bgr() -> None:
    image = decode_image(encoded(Image.new("RGB", (16, 8), (250, 10, 120)), "JPEG", quality=95))
    assert image.shape == (8, 16, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image[4, 8], [120, 10, 250], atol=4)


def test_empty_picture_is_refused() -> None:
    with pytest.raises(ImageError, match=r"picture is empty \(0 bytes\); send a JPEG, PNG, BMP"):
        decode_image(b"")


def test_text_is_no_picture() -> None:
    message = r"not a picture \(11 bytes, first bytes b'hello wo'\); allowed: JPEG, PNG, BMP, WEBP"
    with pytest.raises(UnsupportedImageError, match=message):
        decode_image(b"hello world")


def test_picture_of_another_format_is_refused() -> None:
    content = encoded(Image.fromarray(noise()), "GIF")
    with pytest.raises(UnsupportedImageError, match=r"not a picture .*GIF8.*allowed: JPEG, PNG"):
        decode_image(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_picture_is_refused(kind: str, share: float) -> None:
    content = encoded(Image.fromarray(noise()), kind)
    message = f"{kind} of 60 x 40 px: the data is cut off or damaged .*; send the complete file"
    with pytest.raises(ImageError, match=message):
        decode_image(content[: int(len(content) * share)])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_picture_cut_off_in_its_header_is_refused(kind: str) -> None:
    content = encoded(Image.fromarray(noise()), kind)
    with pytest.raises(UnsupportedImageError, match=r"not a picture \(20 bytes, first bytes"):
        decode_image(content[:20])


def test_png_with_a_changed_byte_is_refused() -> None:
    content = bytearray(encoded(Image.fromarray(noise()), "PNG"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="PNG of 60 x 40 px: the data is cut off or damaged"):
        decode_image(bytes(content))


# The following files hold no pixels: what is refused as too large was refused by its header, for
# decoding would find it cut off.
def test_file_without_pixels_is_cut_off_when_its_size_is_allowed() -> None:
    with pytest.raises(ImageError, match="PNG of 100 x 100 px: the data is cut off"):
        decode_image(png_header_only(100, 100))


def test_picture_of_400_megapixels_is_refused_by_its_header() -> None:
    with pytest.raises(ImageTooLargeError, match=r"400,?000,?000 p.*[Mm]ake it smaller or cut it"):
        decode_image(png_header_only(20_000, 20_000))


def test_picture_above_the_pixel_limit_is_refused_by_its_header() -> None:
    message = (
        "the picture has 8000 x 8000 px = 64,000,000 px; allowed: 40,000,000 px and 16,000 px a "
        "side. Make it smaller or cut it into parts"
    )
    with pytest.raises(ImageTooLargeError, match=re.escape(message)):
        decode_image(png_header_only(8000, 8000), ImageLimits(max_pixels=40_000_000))


@pytest.mark.parametrize("size", [(16_001, 10), (10, 16_001)])
def test_picture_above_the_side_limit_is_refused_by_its_header(size: tuple[int, int]) -> None:
    message = rf"{size[0]} x {size[1]} px .*allowed: .* and 16,000 px a side"
    with pytest.raises(ImageTooLargeError, match=message):
        decode_image(png_header_only(*size))


def test_picture_of_just_the_allowed_size_is_read() -> None:
    content = encoded(Image.fromarray(noise(40, 60)), "PNG")
    limits = ImageLimits(max_bytes=len(content), max_pixels=40 * 60, max_side=60)
    assert decode_image(content, limits).shape == (40, 60, 3)


def test_picture_of_too_many_bytes_is_refused() -> None:
    content = encoded(Image.fromarray(noise()), "PNG")
    message = f"the picture has {len(content):,} bytes; allowed: 1,000. Send a smaller file"
    with pytest.raises(ImageTooLargeError, match=message):
        decode_image(content, ImageLimits(max_bytes=1000))


def test_cmyk_jpeg_has_its_colours() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    content = encoded(red, "JPEG", quality=95)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    np.testing.assert_allclose(decode_image(content)[8, 8], [0, 0, 255], atol=4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bit(kind: str) -> None:
    values = np.array([[0, 0x0100, 0x80FF, 0xFFFF]], dtype=np.uint16)
    image = decode_image(encoded(Image.fromarray(values), kind))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[0], [[0] * 3, [1] * 3, [128] * 3, WHITE])


def test_8_bit_grey_has_three_equal_channels() -> None:
    values = np.array([[0, 77, 255]], dtype=np.uint8)
    image = decode_image(encoded(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(image[0], [[0] * 3, [77] * 3, WHITE])


def test_1_bit_picture_is_black_and_white() -> None:
    picture = Image.new("1", (2, 1), 0)
    picture.putpixel((1, 0), 1)
    np.testing.assert_array_equal(decode_image(encoded(picture, "PNG"))[0], [[0] * 3, WHITE])


def test_transparent_becomes_white_and_half_transparent_lighter() -> None:
    pixels = np.array([[[0, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 128]]], dtype=np.uint8)
    image = decode_image(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(image[0, :2], [WHITE, [0, 0, 200]])
    np.testing.assert_allclose(image[0, 2], [127, 127, 127], atol=1)


def test_transparent_grey_becomes_white() -> None:
    pixels = np.array([[[0, 0], [90, 255]]], dtype=np.uint8)
    image = decode_image(encoded(Image.fromarray(pixels, "LA"), "PNG"))
    np.testing.assert_array_equal(image[0], [WHITE, [90, 90, 90]])


def test_transparent_colour_of_a_palette_becomes_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    opaque = decode_image(encoded(picture, "PNG"))
    see_through = decode_image(encoded(picture, "PNG", transparency=0))
    np.testing.assert_array_equal(opaque[0], [[30, 20, 10], [50, 100, 200]])
    np.testing.assert_array_equal(see_through[0], [WHITE, [50, 100, 200]])


def test_transparent_colour_without_a_palette_becomes_white() -> None:
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 8, 7))
    image = decode_image(encoded(picture, "PNG", transparency=(1, 2, 3)))
    np.testing.assert_array_equal(image[0], [WHITE, [7, 8, 9]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = noise(4, 6)
    turned = upright.transpose(1, 0, 2)
    # EXIF 2.3, tag 0x0112: which side of the scene the stored row 0 and column 0 are.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: turned,
        6: turned[::-1],
        7: turned[::-1, ::-1],
        8: turned[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    image = decode_image(content)
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, upright[:, :, ::-1])


def test_exif_orientation_of_a_jpeg_is_applied() -> None:
    stored = Image.new("RGB", (32, 16), (255, 255, 255))
    stored.paste((0, 0, 0), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decode_image(encoded(stored, "JPEG", quality=95, exif=exif))
    assert image.shape == (32, 16, 3)
    assert image[4, 8].max() < 20
    assert image[28, 8].min() > 235


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_several_frames_are_refused(kind: str) -> None:
    second = Image.fromarray(255 - noise())
    content = encoded(Image.fromarray(noise()), kind, save_all=True, append_images=[second])
    message = f"{kind} with 2 frames; allowed: 1. Split it into single pictures"
    with pytest.raises(ImageError, match=message):
        decode_image(content)


def test_camera_jpeg_with_a_preview_behind_it_is_read() -> None:
    preview = Image.new("RGB", (6, 4))
    content = encoded(Image.new("RGB", (60, 40)), "MPO", save_all=True, append_images=[preview])
    assert decode_image(content).shape == (40, 60, 3)


def test_file_with_a_chinese_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "图片" / "发票 1.png"
    path.parent.mkdir()
    path.write_bytes(encoded(Image.fromarray(noise()), "PNG"))
    np.testing.assert_array_equal(read_image(path), noise()[:, :, ::-1])


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.png"
    message = f"^{re.escape(str(path))}: cannot read this picture .*check the path and the rights"
    with pytest.raises(ImageError, match=message):
        read_image(path)


def test_fault_of_a_file_starts_with_its_path_and_keeps_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture", encoding="utf-8")
    with pytest.raises(UnsupportedImageError, match=f"^{re.escape(str(path))}: not a picture"):
        read_image(path)


def test_file_of_too_many_bytes_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(bytes(2000))
    message = f"^{re.escape(str(path))}: the picture has 2,000 bytes; allowed: 1,999"
    with pytest.raises(ImageTooLargeError, match=message):
        read_image(path, ImageLimits(max_bytes=1999))


def damaged_tiff() -> bytes:
    """A TIFF whose pointer to a second directory leads into its pixels."""
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "TIFF")
    content = bytearray(buffer.getvalue())
    (offset,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, offset)
    struct.pack_into("<I", content, offset + 2 + 12 * entries, len(content) - 20)
    return bytes(content)


def test_a_damaged_directory_is_a_picture_error_and_no_crash() -> None:
    with pytest.raises(ImageError, match="TIFF of 4 x 4 px: the data is cut off or damaged"):
        decode_image(damaged_tiff())


def test_mutated_pictures_are_read_or_refused_and_never_crash() -> None:
    random = np.random.default_rng(7)
    sources = []
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (12, 17, 3), np.uint8)).save(buffer, kind)
        sources.append(buffer.getvalue())
    refused = 0
    for number in range(1500):
        content = bytearray(sources[number % len(sources)])
        for _ in range(int(random.integers(1, 6))):
            content[int(random.integers(len(content)))] = int(random.integers(256))
        try:
            assert decode_image(bytes(content)).dtype == np.uint8
        except ImageError:
            refused += 1
    assert 0 < refused < 1500


def test_a_32_bit_picture_says_what_is_allowed() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((3, 3), 0.5, np.float32)).save(buffer, "TIFF")
    with pytest.raises(ImageError, match="a picture of mode F; allowed: 8 or 16 bits a channel"):
        decode_image(buffer.getvalue())


def test_a_jpeg_that_is_turned_by_xmp_alone_is_turned() -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf'
        b'-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(stream, "JPEG", xmp=xmp)
    assert decode_image(stream.getvalue()).shape == (40, 20, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_quick_way_gives_the_pixels_of_the_slow_one(orientation: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (33, 47, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", quality=80, exif=exif)
    content = stream.getvalue()
    # One byte behind the end marker: the slow way is taken.
    np.testing.assert_array_equal(decode_image(content), decode_image(content + b"\0"))
