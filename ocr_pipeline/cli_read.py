"""What ``ocr-pipeline read`` does. Part of :mod:`ocr_pipeline.cli`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
from rich.console import Console
from rich.markup import escape

from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import AssetError, ConfigError, ImageError, OcrPipelineError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.formats import PdfPage, document, searchable_pdf
from ocr_pipeline.inference.reader import OcrReader, PageText
from ocr_pipeline.ops.decode import BGRImage, read_file
from ocr_pipeline.ops.documents import DecodedPage, count_pages, decode_page, parse_pages
from ocr_pipeline.ops.draw import Annotation, annotate
from ocr_pipeline.ops.encode import encode_jpeg
from ocr_pipeline.remote import RemoteReader

_out = Console()
_err = Console(stderr=True)
_LIMITS, _DOCUMENTS = ImageLimits(), DocumentLimits()


@dataclass
class ReadCommand:
    """Reads files page by page: prints each page, then writes all of them.

    Args:
        reader: reads a page, here or by a service.
        as_json: print JSON instead of text.
        words: with places of words in the JSON.
        draw: annotated picture; a folder where there are several pages.
        files: a file for all pages, by form: hocr, alto, pdf.
    """

    reader: OcrReader | RemoteReader
    as_json: bool
    words: bool
    draw: Path | None
    files: Mapping[str, Path | None]
    _pages: list[PdfPage] = field(default_factory=list)
    _failed: int = 0

    def run(self, paths: Sequence[Path], chosen: str | None) -> int:
        """Read what is chosen of each file; how many files or pages could not be read."""
        for path in paths:
            try:
                content = read_file(path, max(_LIMITS.max_bytes, _DOCUMENTS.pdf_max_bytes))
                count, numbers = _numbers(path, content, chosen)
            except OcrPipelineError as error:
                self._fail(error)
                continue
            several = len(paths) > 1 or len(numbers) > 1
            for number, page in self._decoded(path, content, numbers, count):
                # A picture is sent as it is: the service has limits on bytes.
                sent = isinstance(self.reader, RemoteReader) and count == 1 and page.dpi is None
                try:
                    text = self._text(content if sent else page.pixels)
                except ImageError as error:
                    self._fail(type(error)(f"{_where(path, number, count)}: {error}"))
                else:
                    self._tell(path, number, count, page, text, several=several)
        for form, target in self.files.items():
            if target is not None:
                self._save(target, form)
        return self._failed

    def _decoded(
        self, path: Path, content: bytes, numbers: Sequence[int], count: int
    ) -> Iterator[tuple[int, DecodedPage]]:
        for number in numbers:
            try:
                page = decode_page(content, number, _LIMITS, _DOCUMENTS)
            except ImageError as error:
                self._fail(type(error)(f"{_where(path, number, count)}: {error}"))
            else:
                yield number, page

    def _text(self, picture: BGRImage | bytes) -> PageText:
        wanted = any(self.files.values())
        return self.reader.read(picture, words=bool((self.words and self.as_json) or wanted))

    def _tell(
        self,
        path: Path,
        number: int,
        count: int,
        page: DecodedPage,
        text: PageText,
        *,
        several: bool,
    ) -> None:
        if any(self.files.values()):
            jpeg = encode_jpeg(page.pixels) if self.files.get("pdf") else b""
            self._pages.append(PdfPage(text, jpeg, page.dpi))
        if self.as_json:
            place = {"image": str(path), "page": number + 1, "page_count": count, "dpi": page.dpi}
            print(json.dumps({**place, **text.as_dict()}, ensure_ascii=False))
        else:
            if several:
                where = f"{path}, page {number + 1} of {count}" if count > 1 else str(path)
                _out.print(f"[dim]== {escape(where)}[/]", highlight=False, soft_wrap=True)
            print(text.text)
        if self.draw is not None:
            name = f"{path.stem}-{number + 1}.png" if count > 1 else f"{path.stem}.png"
            _save_annotated(self.draw / name if several else self.draw, page.pixels, text)

    def _fail(self, error: OcrPipelineError) -> None:
        self._failed += 1
        _err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)

    def _save(self, target: Path, form: str) -> None:
        if not self._pages:
            _err.print(f"[yellow]not written:[/] {escape(str(target))}: no page", soft_wrap=True)
            return
        texts = [page.text for page in self._pages]
        if form == "pdf":
            content = searchable_pdf(self._pages)
        else:
            content = document(texts, "hocr" if form == "hocr" else "alto").encode()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        _err.print(f"[dim]{form}: {escape(str(target))}[/]", highlight=False, soft_wrap=True)


def _numbers(path: Path, content: bytes, chosen: str | None) -> tuple[int, list[int]]:
    """Pages of a file, and which of them are to be read, from 0."""
    try:
        count = count_pages(content, _LIMITS, _DOCUMENTS)
        return count, list(range(count)) if chosen is None else parse_pages(chosen, count)
    except (ConfigError, ImageError) as error:
        raise type(error)(f"{path}: {error}") from None


def _where(path: Path, number: int, count: int) -> str:
    return f"{path}, page {number + 1}" if count > 1 else str(path)


def _save_annotated(target: Path, image: BGRImage, page: PageText) -> None:
    try:
        font = find_font(may_fetch=False)
    except AssetError as error:
        font = None
        _err.print(f"[yellow]boxes only:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    lines = [Annotation(line.points, line.text, line.confidence) for line in page.lines]
    done, content = cv2.imencode(".png", annotate(image, lines, font))
    if not done:
        raise ConfigError(f"{target}: the annotated picture cannot be encoded")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.tobytes())
    _err.print(f"[dim]annotated: {escape(str(target))}[/]", highlight=False, soft_wrap=True)
