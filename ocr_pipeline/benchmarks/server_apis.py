"""How the service and the servers of others are asked, and where their answers have the lines."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from ocr_pipeline.benchmarks.reading import Found


@dataclass(frozen=True)
class Body:
    """Of a request: made once for a picture, sent many times.

    Attributes:
        content: bytes.
        media_type: with the boundary of its parts.
    """

    content: bytes
    media_type: str


@dataclass(frozen=True)
class Api:
    """One way to ask a server.

    Attributes:
        ready: path that answers 200 once pictures can be sent.
        route: path that takes them.
        body: from the bytes of a picture.
        lines: from the JSON of an answer with status 200.
    """

    ready: str
    route: str
    body: Callable[[bytes], Body]
    lines: Callable[[Any], list[Found]]


def _our_body(content: bytes) -> Body:
    return _multipart({"file": ("picture", content)}, {})


def _our_lines(answer: Any) -> list[Found]:
    return [
        Found(line["points"], line["text"]) for page in answer["pages"] for line in page["lines"]
    ]


def _paddlex_body(content: bytes) -> Body:
    asked = {"file": base64.b64encode(content).decode(), "fileType": 1}
    return Body(json.dumps(asked).encode(), "application/json")


def _paddlex_lines(answer: Any) -> list[Found]:
    pages = [page["prunedResult"] for page in answer["result"]["ocrResults"]]
    return [
        Found(points, text)
        for page in pages
        for points, text in zip(page["rec_polys"], page["rec_texts"], strict=True)
    ]


def _rapidocr_body(content: bytes) -> Body:
    return _multipart({"image_file": ("picture", content)}, {"use_cls": "false"})


def _rapidocr_lines(answer: Any) -> list[Found]:
    return [Found(line["dt_boxes"], line["rec_txt"]) for line in answer.values()]


def _multipart(files: dict[str, tuple[str, bytes]], fields: dict[str, str]) -> Body:
    request = httpx.Request("POST", "http://any", files=files, data=fields)
    return Body(request.read(), request.headers["content-type"])


OURS = Api("/readyz", "/v1/ocr", _our_body, _our_lines)
PADDLEX = Api("/health", "/ocr", _paddlex_body, _paddlex_lines)
RAPIDOCR = Api("/", "/ocr", _rapidocr_body, _rapidocr_lines)
