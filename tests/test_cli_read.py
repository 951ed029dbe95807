"""``read`` on documents of several pages, in this process: it has imported everything."""

import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image

from ocr_pipeline.cli import main
from ocr_pipeline.cli_read import ReadCommand
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.formats import PdfPage, searchable_pdf
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.reader import PageText
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.encode import encode_jpeg
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    engine = EngineConfig(variant="openvino-fp32")
    return OcrReader.load(exported_tiny.det, exported_tiny.rec, engine)


def pdf_of(*pictures: BGRImage) -> bytes:
    """A PDF of pictures alone, at 200 dpi."""
    blank = [PageText([], picture.shape[1], picture.shape[0], {}, {}) for picture in pictures]
    return searchable_pdf(
        [
            PdfPage(text, encode_jpeg(picture, 95), 200.0)
            for text, picture in zip(blank, pictures, strict=True)
        ]
    )


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A PDF of three pages; the second one is blank."""
    path = tmp_path / "合同 scan.pdf"
    first, second = golden_pages()
    path.write_bytes(pdf_of(first, np.full_like(first, 255), second))
    return path


def command(
    reader: OcrReader, *, as_json: bool = False, draw: Path | None = None, **files: Path
) -> ReadCommand:
    return ReadCommand(reader=reader, as_json=as_json, words=False, draw=draw, files=files)


def test_each_page_of_a_pdf_is_a_result_in_order(
    reader: OcrReader, scan: Path, capsys: Captured
) -> None:
    assert command(reader, as_json=True).run([scan], None) == 0
    pages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [page["page"] for page in pages] == [1, 2, 3]
    assert {(page["image"], page["page_count"], page["dpi"]) for page in pages} == {
        (str(scan), 3, 200.0)
    }
    first, second = golden_pages()
    assert (pages[0]["height"], pages[0]["width"]) == first.shape[:2]
    assert "1,280.50" in pages[0]["text"]
    assert pages[1]["text"] == ""
    assert pages[2]["text"].split() == reader.read(second).text.split()


def test_text_of_several_pages_says_where_each_begins(
    reader: OcrReader, scan: Path, capsys: Captured
) -> None:
    assert command(reader).run([scan], "3,1") == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("== ")]
    assert heads == [f"== {scan}, page 1 of 3", f"== {scan}, page 3 of 3"]
    assert command(reader).run([scan], "1") == 0
    assert "==" not in capsys.readouterr().out


def test_pages_are_written_as_pdf_hocr_and_alto(
    reader: OcrReader, scan: Path, tmp_path: Path, capsys: Captured
) -> None:
    picture = tmp_path / "page.png"
    picture.write_bytes(cv2.imencode(".png", golden_pages()[0])[1].tobytes())
    out = {form: tmp_path / "out" / f"all.{form}" for form in ("pdf", "hocr", "alto")}
    assert command(reader, **out).run([scan, picture], None) == 0
    said = capsys.readouterr().out
    with pdfium.PdfDocument(out["pdf"]) as document:
        assert len(document) == 4
        sizes = [document[number].get_size() for number in (0, 3)]
        texts = [document[number].get_textpage().get_text_range() for number in range(4)]
    height, width = golden_pages()[0].shape[:2]
    assert sizes[0] == pytest.approx((width * 0.36, height * 0.36), abs=0.01)
    assert sizes[1] == pytest.approx((width * 0.48, height * 0.48), abs=0.01)
    assert "1,280.50" in texts[0]
    assert texts[1] == ""
    assert " ".join(texts).split() == [
        word for line in said.splitlines() if not line.startswith("== ") for word in line.split()
    ]
    for form, tag in (("hocr", "div"), ("alto", "Page")):
        tree = ElementTree.parse(out[form])
        assert sum(element.tag.endswith(f"}}{tag}") for element in tree.iter()) == 4


def test_a_page_that_cannot_be_read_does_not_sink_the_others(
    reader: OcrReader, tmp_path: Path, capsys: Captured
) -> None:
    frames = [Image.fromarray(page[:, :, ::-1]) for page in golden_pages()]
    # The second frame is larger than any picture may be.
    frames.insert(1, Image.new("1", (16_001, 8)))
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    path, bad = tmp_path / "fax.tiff", tmp_path / "bad.pdf"
    path.write_bytes(buffer.getvalue())
    bad.write_bytes(b"%PDF-1.7 and nothing else")
    out = tmp_path / "all.pdf"
    assert command(reader, as_json=True, pdf=out).run([path, bad], None) == 2
    said = capsys.readouterr()
    pages = [json.loads(line) for line in said.out.splitlines()]
    assert [(page["page"], page["dpi"]) for page in pages] == [(1, None), (3, None)]
    told = " ".join(said.err.split())
    assert f"{path}, page 2: the picture has 16001 x 8 px" in told
    assert f"{bad}: the PDF is cut off or damaged" in told
    with pdfium.PdfDocument(out) as document:
        assert len(document) == 2


def test_annotated_pages_lie_in_a_folder(reader: OcrReader, scan: Path, tmp_path: Path) -> None:
    folder, single = tmp_path / "drawn", tmp_path / "one.png"
    assert command(reader, draw=folder).run([scan], None) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        f"合同 scan-{number}.png" for number in (1, 2, 3)
    ]
    assert command(reader, draw=single).run([scan], "2") == 0
    assert single.is_file()


def test_pages_that_are_not_there_are_said(
    reader: OcrReader, scan: Path, tmp_path: Path, capsys: Captured
) -> None:
    none = tmp_path / "none.pdf"
    assert command(reader, pdf=none).run([scan, tmp_path / "absent.pdf"], "4") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{scan}: pages '4': the document has 3 pages; choose from 1 to 3" in told
    assert "absent.pdf: cannot read this picture" in told
    assert f"not written: {none}: no page" in told
    assert not none.exists()


def test_the_command_takes_all_of_it(
    exported_tiny: ExportedPair,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    models = ["--det", exported_tiny.det, "--rec", exported_tiny.rec, "--engine", "openvino-fp32"]
    out = tmp_path / "out.pdf"
    words = ["read", scan, "--pages", "1-2", "--pdf", out, "--json", *models]
    monkeypatch.setattr(sys, "argv", ["ocr-pipeline", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    pages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [page["page"] for page in pages] == [1, 2]
    with pdfium.PdfDocument(out) as document:
        assert len(document) == 2
    words[3] = "0"
    monkeypatch.setattr(sys, "argv", ["ocr-pipeline", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
