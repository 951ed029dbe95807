"""Pages of documents: PDF files made by hand, TIFF files made by Pillow and broken by hand."""

import io
import os
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fpdf import FPDF
from numpy.typing import NDArray
from PIL import Image

from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import (
    ConfigError,
    ImageError,
    ImageTooLargeError,
    OcrPipelineError,
    UnsupportedImageError,
)
from ocr_pipeline.ops import pdf_worker
from ocr_pipeline.ops.decode import count_frames, decode_image
from ocr_pipeline.ops.documents import DecodedPage, count_pages, decode_page, parse_pages
from tests.made_pdfs import A4, blank_picture, grey_pages, one_page, pdf, stream, with_picture

LIMITS, DOCUMENTS = ImageLimits(), DocumentLimits()
ORIENTATION = 0x0112


def count(content: bytes, **documents: Any) -> int:
    return count_pages(content, LIMITS, DocumentLimits(**documents))


def decode(
    content: bytes, page: int = 0, limits: ImageLimits = LIMITS, **documents: Any
) -> DecodedPage:
    return decode_page(content, page, limits, DocumentLimits(**documents))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int = 20, width: int = 30, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiff(*pictures: Image.Image) -> bytes:
    return encoded(pictures[0], "TIFF", save_all=True, append_images=pictures[1:])


def directories(content: bytes) -> list[int]:
    """Where the directories of a little-endian TIFF begin."""
    places, (place,) = [], struct.unpack_from("<I", content, 4)
    while place:
        places.append(place)
        (entries,) = struct.unpack_from("<H", content, place)
        (place,) = struct.unpack_from("<I", content, place + 2 + 12 * entries)
    return places


def with_next(content: bytes, frame: int, place: int) -> bytes:
    """The TIFF with the directory behind ``frame`` at another place."""
    changed = bytearray(content)
    start = directories(content)[frame]
    (entries,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", changed, start + 2 + 12 * entries, place)
    return bytes(changed)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_a_picture_is_one_page_and_decoded_as_ever(kind: str) -> None:
    content = encoded(Image.fromarray(noise()), kind)
    assert count(content) == 1
    page = decode(content)
    assert page.dpi is None
    np.testing.assert_array_equal(page.pixels, decode_image(content))
    with pytest.raises(ImageError, match="page 2: the document has 1; choose from 1 to 1"):
        decode(content, 1)


def test_a_camera_s_jpeg_with_a_preview_is_one_page() -> None:
    preview = Image.new("RGB", (6, 4))
    content = encoded(Image.new("RGB", (60, 40)), "MPO", save_all=True, append_images=[preview])
    assert count(content) == 1
    assert decode(content).pixels.shape == (40, 60, 3)


def test_a_picture_that_speaks_of_pdf_is_a_picture() -> None:
    content = encoded(Image.fromarray(noise()), "JPEG", comment=b"made from %PDF-1.4")
    assert b"%PDF-" in content[:1024]
    assert count(content) == 1
    assert decode(content).pixels.shape == (20, 30, 3)


def test_pdf_is_named_where_documents_are_allowed_only() -> None:
    with pytest.raises(UnsupportedImageError, match="allowed: JPEG, PNG, BMP, WEBP, TIFF, PDF"):
        count(b"hello world")
    with pytest.raises(UnsupportedImageError, match="allowed: JPEG, PNG, BMP, WEBP, TIFF, PDF"):
        decode(b"hello world")
    with pytest.raises(ImageError, match=r"empty \(0 bytes\); send a JPEG, .*, TIFF, PDF file"):
        count(b"")
    with pytest.raises(UnsupportedImageError, match="allowed: JPEG, PNG, BMP, WEBP, TIFF$"):
        decode_image(grey_pages(0.5))


# --- TIFF -------------------------------------------------------------------------------------


def test_frames_of_a_tiff_are_decoded_as_each_alone() -> None:
    turned = Image.fromarray(noise(seed=2))
    turned.encoderinfo = {"tiffinfo": {ORIENTATION: 6}}
    grey16 = Image.fromarray(np.arange(0, 60000, 100, dtype=np.uint16).reshape(20, 30))
    clear = Image.fromarray(np.full((7, 9, 4), (10, 20, 30, 0), np.uint8))
    pictures = [
        Image.fromarray(noise()),
        turned,
        grey16,
        clear,
        Image.fromarray(noise(seed=3)).convert("CMYK"),
    ]
    content = tiff(*pictures)
    assert count(content) == 5
    with pytest.raises(ImageError, match="TIFF with 5 frames; allowed: 1"):
        decode_image(content)
    for place, picture in enumerate(pictures):
        page = decode(content, place)
        assert page.dpi is None
        single = encoded(picture, "TIFF", tiffinfo={ORIENTATION: 6 if picture is turned else 1})
        np.testing.assert_array_equal(page.pixels, decode_image(single), str(place))
    assert decode(content, 1).pixels.shape == (30, 20, 3)
    assert decode(content, 3).pixels.min() == 255
    with pytest.raises(ImageError, match="page 6: the document has 5; choose from 1 to 5"):
        decode(content, 5)
    with pytest.raises(ImageError, match="page 0: the document has 5"):
        decode(content, -1)


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}])
def test_frames_are_counted_in_each_kind_of_tiff(options: dict[str, bool]) -> None:
    frames = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(content)) as opened:
        assert getattr(opened, "n_frames", 0) == 3
    assert count(content) == 3


@pytest.mark.parametrize("pointer", [2**64 - 1, 2**63, 2**40])
def test_a_directory_far_behind_the_end_is_one_that_cannot_be_read(pointer: int) -> None:
    content = bytearray(encoded(Image.fromarray(noise()), "TIFF", big_tiff=True))
    (start,) = struct.unpack_from("<Q", content, 8)
    (entries,) = struct.unpack_from("<Q", content, start)
    struct.pack_into("<Q", content, start + 8 + 20 * entries, pointer)
    assert count(bytes(content)) == 2
    assert decode(bytes(content)).pixels.shape == (20, 30, 3)
    with pytest.raises(ImageError, match="TIFF of 30 x 20 px: the data is cut off or damaged"):
        decode(bytes(content), 1)
    struct.pack_into("<Q", content, start, 2**64 - 1)  # entries
    assert count_frames(bytes(content), 9) == 1


def test_a_big_endian_chain_is_followed() -> None:
    chain = struct.pack(">2sHIHIHI", b"MM", 42, 8, 0, 14, 0, 0)
    assert count_frames(chain, 10) == 2


def test_a_tiff_of_too_many_frames_is_refused_by_its_directories() -> None:
    first = tiff(Image.fromarray(noise()))
    # Behind it a million directories without an entry, of 6 bytes each.
    start = len(first) + len(first) % 2
    links = np.zeros(1_000_000, dtype=[("entries", "<u2"), ("next", "<u4")])
    links["next"][:-1] = start + 6 * np.arange(1, len(links))
    content = with_next(first, 0, start) + b"\0" * (len(first) % 2) + links.tobytes()
    assert count_frames(content, 70) == 70
    message = "document has more than 100 pages; allowed: 100. Split it, or raise documents.max_p"
    with pytest.raises(ImageTooLargeError, match=message):
        count(content)
    with pytest.raises(ImageError, match="TIFF with 1000 or more frames|cut off or damaged"):
        decode_image(content)
    assert decode(content).pixels.shape == (20, 30, 3)
    assert count(tiff(*[Image.fromarray(noise())] * 3), max_pages=3) == 3


def test_a_tiff_that_comes_back_to_itself_ends_there() -> None:
    content = tiff(Image.fromarray(noise()), Image.fromarray(noise(seed=1)))
    loop = with_next(content, 1, directories(content)[0])
    assert count(loop) == 2
    np.testing.assert_array_equal(decode(loop, 1).pixels, noise(seed=1)[:, :, ::-1])


def test_a_damaged_frame_does_not_sink_the_others() -> None:
    content = tiff(*(Image.fromarray(noise(seed=seed)) for seed in range(3)))
    second = directories(content)[1]
    broken = bytearray(content)
    struct.pack_into("<H", broken, second + 2, 1)  # its width becomes another tag
    assert count(bytes(broken)) == 3
    with pytest.raises(ImageError, match="TIFF.*cut off or damaged"):
        decode(bytes(broken), 1)
    for page in (0, 2):
        np.testing.assert_array_equal(
            decode(bytes(broken), page).pixels, noise(seed=page)[..., ::-1]
        )
    with pytest.raises(ImageError, match="cut off or damaged"):
        decode(content[: directories(content)[2] + 40], 2)


def test_each_frame_is_measured_by_its_header() -> None:
    content = tiff(Image.fromarray(noise()), Image.fromarray(noise(40, 50)))
    limits = ImageLimits(max_pixels=1000)
    assert decode(content, 0, limits).pixels.shape == (20, 30, 3)
    with pytest.raises(ImageTooLargeError, match="50 x 40 px = 2,000 px; allowed: 1,000"):
        decode(content, 1, limits)


# --- PDF --------------------------------------------------------------------------------------


def test_pages_of_a_pdf_are_drawn_in_order() -> None:
    content = grey_pages(0, 0.2, 1)
    assert count(content) == 3
    pages = [decode(content, page) for page in range(3)]
    assert [page.pixels.shape for page in pages] == [(100, 200, 3)] * 3
    assert [page.dpi for page in pages] == [200.0] * 3
    assert [int(page.pixels.mean()) for page in pages] == [0, 51, 255]
    assert all(page.pixels.dtype == np.uint8 and page.pixels.flags.c_contiguous for page in pages)
    assert pages[0].pixels.flags.writeable
    with pytest.raises(ImageError, match="page 4: the document has 3; choose from 1 to 3"):
        decode(content, 3)
    with pytest.raises(ImageError, match="page 0: pages are counted from 1"):
        decode(content, -1)


def test_what_is_drawn_stands_where_it_is_on_white_and_in_its_colour() -> None:
    # Blue in the lower left quarter; an odd width has padded rows.
    content = one_page(b"0 0 1 rg 0 0 50 25 re f", (101, 50))
    pixels = decode(content, pdf_dpi=72).pixels
    assert pixels.shape == (50, 101, 3)
    assert pixels[40, 10].tolist() == [255, 0, 0]
    assert pixels[10, 10].tolist() == pixels[40, 90].tolist() == [255, 255, 255]


def test_a_turned_page_is_upright() -> None:
    content = one_page(b"0 g 0 0 36 36 re f", (72, 36), page=b"/Rotate 90")
    pixels = decode(content, pdf_dpi=72).pixels
    assert pixels.shape == (72, 36, 3)
    assert pixels[10, 10].tolist() == [0, 0, 0]
    assert pixels[60, 10].tolist() == [255, 255, 255]


def test_annotations_and_filled_fields_are_drawn_and_scripts_are_not_run() -> None:
    def marked(kind: bytes, place: bytes) -> bytes:
        return b"<</Type/Annot/Subtype/%s/Rect%s/F 4/AP<</N 5 0 R>>/T(a)/FT/Tx/V(b)>>" % (
            kind,
            place,
        )

    content = one_page(
        b"",
        (72, 72),
        b"",
        stream(b"0 g 0 0 20 20 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 20 20]"),
        marked(b"Stamp", b"[0 0 20 20]"),
        marked(b"Widget", b"[40 40 60 60]"),
        b"<</S/JavaScript/JS(while\\(true\\);)>>",
        page=b"/Annots[6 0 R 7 0 R]",
        catalogue=b"/AcroForm<</Fields[7 0 R]>>/OpenAction 8 0 R",
    )
    pixels = decode(content, pdf_dpi=72).pixels
    assert pixels[62, 10].max() == 0  # stamp
    assert pixels[22, 50].max() == 0  # field
    assert pixels[10, 10].min() == 255


def test_a_large_page_is_drawn_at_a_lower_resolution_that_is_told() -> None:
    content = one_page(b"", (720, 360))
    page = decode(content, 0, ImageLimits(max_pixels=500_000))
    assert page.pixels.shape == (500, 1000, 3)
    assert page.dpi == pytest.approx(100)
    page = decode(content, 0, ImageLimits(max_side=600))
    assert page.pixels.shape == (300, 600, 3)
    assert page.dpi == pytest.approx(60)
    for side in (230.4, 114.84, 595.28):  # sides of 640, 319 and 1653 px
        assert decode(one_page(b"", (side, 72))).pixels.shape[1] == int(side / 0.36 + 0.001)
    for most in (40_000, 40_001, 40_100):
        pixels = decode(one_page(b"", (100.1, 100)), 0, ImageLimits(max_pixels=most)).pixels
        assert most - 400 < pixels.shape[0] * pixels.shape[1] <= most
    page = decode(one_page(b"", A4), pdf_dpi=300)
    assert page.pixels.shape == (3508, 2479, 3)
    assert page.dpi == pytest.approx(300)


def test_a_page_without_a_size_to_read_is_refused() -> None:
    message = "page 1 of the PDF is 0.2 x 700 points: nothing to draw"
    with pytest.raises(ImageError, match=message):
        decode(one_page(b"", (0.2, 700)))
    message = r"100000 x 100000 points; 40,000,000 px and 16,000 px a side leave it 4\.6 dpi"
    with pytest.raises(ImageTooLargeError, match=message):
        decode(one_page(b"", (100_000, 100_000)))


def test_a_pdf_may_begin_behind_other_bytes() -> None:
    junk = b"\r\n\0junk" * 100
    assert count(junk + grey_pages(0.2, 1)) == 2
    assert int(decode(junk + grey_pages(0.2)).pixels.mean()) == 51
    with pytest.raises(UnsupportedImageError, match="not a picture"):
        count(b"x" * 2000 + grey_pages(0))


def test_too_many_pages_are_refused_with_both_numbers() -> None:
    message = "the document has 4 pages; allowed: 3. Split it, or raise documents.max_pages"
    with pytest.raises(ImageTooLargeError, match=message):
        count(grey_pages(0, 0, 0, 0), max_pages=3)


def test_a_large_file_is_measured_by_its_kind() -> None:
    limits, content = ImageLimits(max_bytes=100), grey_pages(0)
    assert len(content) > 100
    assert count_pages(content, limits, DOCUMENTS) == 1
    assert decode(content, 0, limits).pixels.max() == 0
    message = "the PDF has .* bytes; allowed: 100. Split it, or raise documents.pdf_max_bytes"
    with pytest.raises(ImageTooLargeError, match=message):
        count(content, pdf_max_bytes=100)
    with pytest.raises(ImageTooLargeError, match="picture has .* bytes; allowed: 100"):
        count_pages(encoded(Image.fromarray(noise()), "PNG"), limits, DOCUMENTS)


def test_an_encrypted_pdf_is_refused_and_one_that_opens_without_a_password_read() -> None:
    for password, opens in (("wanted", False), ("", True)):
        document = FPDF(format=(72, 36), unit="pt")
        document.add_page()
        document.set_encryption("owner", password)
        content = bytes(document.output())
        if opens:
            assert count(content) == 1
            assert decode(content).pixels.min() == 255
            continue
        with pytest.raises(UnsupportedImageError, match="PDF is encrypted; save it without a pass"):
            count(content)
        with pytest.raises(UnsupportedImageError, match="page 1 of the PDF is encrypted"):
            decode(content)


def test_a_pdf_without_pages_cut_off_or_damaged_is_refused() -> None:
    none = pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>")
    with pytest.raises(ImageError, match="no page|damaged"):
        count(none)
    with pytest.raises(ImageError, match=r"the PDF is cut off or damaged \(its end is missing\)"):
        count(grey_pages(0, 1)[:-20])
    with pytest.raises(ImageError, match="the PDF is cut off or damaged"):
        count(b"%PDF-1.7\n" + b"garbage " * 50 + b"%%EOF")
    # The second page is no page.
    lost = grey_pages(0, 1).replace(b"[3 0 R 5 0 R]", b"[3 0 R 9 0 R]")
    assert count(lost) == 2
    assert decode(lost, 0).pixels.max() == 0
    with pytest.raises(ImageError, match="page 2 of the PDF is cut off or damaged"):
        decode(lost, 1)


def test_mutated_pdfs_are_drawn_or_refused() -> None:
    random = np.random.default_rng(3)
    source = grey_pages(0.2, 0.4)
    drawn = 0
    for _ in range(16):
        content = bytearray(source)
        for place in random.integers(len(content), size=8):
            content[place] = random.integers(256)
        try:
            drawn += decode(bytes(content)).pixels.shape[2] == 3
        except ImageError:
            continue
    assert 0 < drawn < 16


# --- what PDFium may take ---------------------------------------------------------------------


def test_a_picture_in_a_page_may_be_large() -> None:
    pixels = decode(with_picture(blank_picture(9000, 9000))).pixels
    assert pixels.shape == (2338, 1652, 3)
    assert pixels[10:-10, 10:-10].max() == 0


def test_a_page_that_takes_too_much_memory_is_refused() -> None:
    # The mask does not show before the page is drawn, and is decoded whole: 324 MB.
    content = with_picture(
        blank_picture(10, 10, b"/SMask 6 0 R"), blank_picture(18_000, 18_000, colour=False)
    )
    message = "page 1 of the PDF takes more than 256 MiB of memory to draw"
    with pytest.raises(ImageTooLargeError, match=message):
        decode(content, pdf_memory_mib=256)
    assert count(content, pdf_memory_mib=256) == 1


def test_a_page_that_takes_too_long_is_refused() -> None:
    content = with_picture(blank_picture(16_000, 16_000))
    with pytest.raises(ImageError, match=r"page 1 of the PDF was not drawn after 0\.05 s"):
        decode(content, pdf_timeout_s=0.05)


def test_a_picture_that_pdfium_would_leave_out_is_refused() -> None:
    header = blank_picture(1, 1).replace(b"/Width 1/Height 1", b"/Width 40000/Height 40000")
    with pytest.raises(ImageTooLargeError, match="holds a picture of 40000 x 40000 px; allowed: l"):
        decode(with_picture(header))
    # Drawn by a form in a form.
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources<</XObject<</%s %d 0 R>>>>"
    nested = one_page(
        b"/F Do",
        A4,
        b"/XObject<</F 5 0 R>>",
        stream(b"/G Do", form % (b"G", 6)),
        stream(b"/I Do", form % (b"I", 7)),
        header,
    )
    with pytest.raises(ImageTooLargeError, match="40000 x 40000"):
        decode(nested)


def test_pages_are_drawn_from_several_threads_at_once() -> None:
    content = grey_pages(*(place / 8 for place in range(8)))
    alone = [decode(content, page).pixels for page in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda page: decode(content, page).pixels, range(8)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({int(page.mean()) for page in alone}) == 8


def test_a_crash_of_pdfium_is_a_fault_of_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "crashes.py"
    worker.write_text(f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    monkeypatch.setattr(pdf_worker, "__file__", str(worker))
    with pytest.raises(
        ImageError, match="page 1 of the PDF is damaged: PDFium was ended by sig.* 11"
    ):
        decode(grey_pages(0))


def test_a_pdfium_that_is_not_there_is_no_fault_of_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "absent.py"
    worker.write_text("import pypdfium2_is_absent")
    monkeypatch.setattr(pdf_worker, "__file__", str(worker))
    with pytest.raises(OcrPipelineError, match="cannot be run: ModuleNotFound.*install py") as told:
        count(grey_pages(0))
    assert not isinstance(told.value, ImageError)


def test_nothing_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        decode(grey_pages(0))
        with pytest.raises(ImageError):
            count(b"%PDF-1.7 %%EOF")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# --- choices of pages -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("1", [0]),
        ("1-3,7", [0, 1, 2, 6]),
        (" 7 , 1-2,2", [0, 1, 6]),
        ("1-9", list(range(9))),
        ("9-9", [8]),
    ],
)
def test_pages_are_chosen(text: str, pages: list[int]) -> None:
    assert parse_pages(text, 9) == pages


@pytest.mark.parametrize(
    "text", ["", ",", "1,", "a", "-1", "1-", "1--2", "1.5", "２", "1" * 10, "1," * 600 + "1"]
)
def test_what_is_no_choice_of_pages_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not a choice of pages; allowed: .*, e\.g\. 1-3,7"):
        parse_pages(text, 9)


@pytest.mark.parametrize("text", ["0", "10", "3-2", "1-999999999", "1,8-10"])
def test_pages_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="the document has 9 pages; choose from 1 to 9"):
        parse_pages(text, 9)
