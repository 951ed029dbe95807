"""``/ocr`` as PaddleX 3.7 serves it: clients of its server change the address and nothing else."""

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import AssetError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.ops.draw import Annotation, annotate
from ocr_pipeline.ops.geometry import Points
from ocr_pipeline.serving.documents import DocumentReading, Parts, read_document, unless_gone
from ocr_pipeline.serving.fetch import Fetcher
from ocr_pipeline.serving.messages import PageReading
from ocr_pipeline.serving.paddlex_schemas import (
    Box,
    Corner,
    ImageInfo,
    InferAnswer,
    InferRequest,
    InferResult,
    ModelSettings,
    OcrResult,
    PagesInfo,
    PageSize,
    PlainAnswer,
    PrunedResult,
    TextDetParams,
)
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import ClientGoneError, documented, problem_of, retry_headers
from ocr_pipeline.serving.uploads import BadRequestError, decoded_base64

_ERRORS: dict[int | str, dict[str, Any]] = {
    **{status: {"model": PlainAnswer} for status in (400, 413, 415, 422, 500, 502, 503, 504)},
    **documented(  # before it comes to the route
        {
            401: "no valid API key, where the service has keys",
            408: "the body comes too slowly",
            429: "too many requests of this key or address; see Retry-After",
        }
    ),
}
_SUFFIX = ".jpg"
_log = logging.getLogger(__name__)


class _CompatibleRoute(APIRoute):
    """A route whose errors have PaddleX's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except (ClientGoneError, ClientDisconnect):
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, its client is told)
                return _refusal(request, error)

        return handler


def compatible_routes(pool: WorkerPool, config: ServeConfig, fetcher: Fetcher) -> APIRouter:
    """Build ``/ocr`` and ``/health``."""
    router = APIRouter(route_class=_CompatibleRoute)

    @router.post(
        "/ocr",
        summary="Read one file, asked and answered as PaddleX 3.7 does",
        responses=_ERRORS,
        response_model_exclude_none=True,
    )
    async def infer(request: Request, wanted: InferRequest) -> InferAnswer:
        request.state.log_id = log_id = wanted.log_id or str(uuid4())
        visualize = config.compatible.visualize if wanted.visualize is None else wanted.visualize
        content = await _content(wanted, fetcher)
        with pool.admitted():
            served, turning = _served(pool), pool.config.orientation.enabled
            _check(wanted, served, turning=turning)
            parts = Parts(words=bool(wanted.return_word_box), picture=visualize)
            document = await unless_gone(request, read_document(pool, content, "", parts))
            results = [
                OcrResult(pruned_result=_pruned(page.text, wanted, served, turning=turning))
                for page in document.pages
            ]
            if visualize:
                pairs = zip(results, document.pages, strict=True)
                results = [await asyncio.to_thread(_with_pictures, *pair) for pair in pairs]
        return InferAnswer(
            log_id=log_id, result=InferResult(ocr_results=results, data_info=_info(document))
        )

    @router.get("/health", summary="As PaddleX's; /livez and /readyz say more")
    async def health() -> PlainAnswer:
        return PlainAnswer(log_id=str(uuid4()), error_code=0, error_msg="Healthy")

    return router


def _served(pool: WorkerPool) -> TextDetParams:
    spec = pool.models["detector"].rules
    if not isinstance(spec, DetModelSpec):
        raise TypeError(f"the detector is a {type(spec).__name__}")
    return TextDetParams(
        limit_side_len=spec.image.min_side,
        max_side_limit=spec.image.max_side,
        thresh=spec.decode.threshold,
        box_thresh=spec.decode.min_score,
        unclip_ratio=round(spec.decode.unclip_ratio + spec.decode.reading_margin, 3),
    )


def _check(wanted: InferRequest, served: TextDetParams, *, turning: bool) -> None:
    """Refuse what cannot be done; nothing is ignored without a word."""
    faults = [
        f"{name}: true; this service does not do that. Leave it out, or send false"
        for name, value in (
            ("useDocOrientationClassify", wanted.use_doc_orientation_classify),
            ("useDocUnwarping", wanted.use_doc_unwarping),
            ("useTextlineOrientation", wanted.use_textline_orientation and not turning),
        )
        if value
    ]
    faults += [
        f"{name}: {value!r}; the detector is served with {own!r}. Leave it out"
        for name, value, own in (
            ("textDetLimitSideLen", wanted.text_det_limit_side_len, served.limit_side_len),
            ("textDetLimitType", wanted.text_det_limit_type, served.limit_type),
            ("textDetThresh", wanted.text_det_thresh, served.thresh),
            ("textDetBoxThresh", wanted.text_det_box_thresh, served.box_thresh),
            ("textDetUnclipRatio", wanted.text_det_unclip_ratio, served.unclip_ratio),
        )
        if value is not None and value != own
    ]
    if faults:
        raise BadRequestError("; ".join(faults))


async def _content(wanted: InferRequest, fetcher: Fetcher) -> bytes:
    if wanted.file.lower().startswith(("http://", "https://")):
        return await fetcher.fetch(wanted.file)
    return decoded_base64("".join(wanted.file.split()), "Send the file so, or its URL")


def _pruned(
    page: PageText, wanted: InferRequest, served: TextDetParams, *, turning: bool
) -> PrunedResult:
    limit = wanted.text_rec_score_thresh or 0.0
    kept = [line for line in page.lines if line.confidence >= limit]
    polys = [_corners(line) for line in kept]
    words = [line.words or () for line in kept] if wanted.return_word_box else None
    return PrunedResult(
        model_settings=ModelSettings(use_textline_orientation=turning),
        dt_polys=[_corners(line) for line in page.lines],
        text_det_params=served,
        textline_orientation_angles=[
            (1 if line.turned else 0) if turning else -1 for line in page.lines
        ],
        text_rec_score_thresh=limit,
        return_word_box=bool(wanted.return_word_box),
        rec_texts=[line.text for line in kept],
        rec_scores=[round(line.confidence, 4) for line in kept],
        rec_polys=polys,
        rec_boxes=[_box(poly) for poly in polys],
        text_word_boxes=words and [[_box(part.points) for part in parts] for parts in words],
        text_word=words and [[part.text for part in parts] for parts in words],
    )


def _info(document: DocumentReading) -> ImageInfo | PagesInfo:
    sizes = [PageSize(width=p.text.width, height=p.text.height) for p in document.pages]
    if document.pages[0].dpi is not None:
        return PagesInfo(num_pages=len(sizes), pages=sizes, type="pdf")
    if len(sizes) > 1:
        return PagesInfo(num_pages=len(sizes), pages=sizes, type="tiff")
    return ImageInfo(width=sizes[0].width, height=sizes[0].height)


def _corners(line: ReadLine) -> list[Corner]:
    """Clockwise from the top-left one of the page, whichever way the line stands."""
    points: Points = np.roll(line.points, 2, axis=0) if line.turned else line.points
    return [(round(float(x)), round(float(y))) for x, y in points]


def _box(points: list[Corner] | Points) -> Box:
    left, top = np.min(points, axis=0)
    right, bottom = np.max(points, axis=0)
    return round(float(left)), round(float(top)), round(float(right)), round(float(bottom))


def _with_pictures(result: OcrResult, reading: PageReading) -> OcrResult:
    assert reading.picture is not None  # noqa: S101  (it was asked for)
    page = cv2.imdecode(np.frombuffer(reading.picture, np.uint8), cv2.IMREAD_COLOR)
    try:
        font = find_font(may_fetch=False)
    except AssetError:
        font = None  # boxes only
    limit = result.pruned_result.text_rec_score_thresh
    lines = [
        Annotation(line.points, line.text, line.confidence)
        for line in reading.text.lines
        if line.confidence >= limit
    ]
    _, drawn = cv2.imencode(_SUFFIX, annotate(np.asarray(page, np.uint8), lines, font))
    pictures = {"ocr_image": drawn.tobytes(), "input_image": reading.picture}
    return result.model_copy(
        update={name: base64.b64encode(content).decode() for name, content in pictures.items()}
    )


def _refusal(request: Request, error: Exception) -> JSONResponse:
    log_id, headers = getattr(request.state, "log_id", None), {}
    if isinstance(error, RequestValidationError):
        if isinstance(error.body, dict):
            log_id = error.body.get("logId")
        status, reason = 422, json.dumps([_fault(one) for one in error.errors()])
    elif isinstance(error, BadRequestError):
        status, reason = 422, str(error)
    elif isinstance(error, HTTPException):
        status, reason = error.status_code, str(error.detail)
    else:
        problem = problem_of(error)
        status, reason, headers = problem.status, problem.detail, retry_headers(problem)
    if status == 500:
        _log.error("a request to /ocr failed", exc_info=error)
    answer = PlainAnswer(
        log_id=log_id if isinstance(log_id, str) and log_id else str(uuid4()),
        error_code=status,
        error_msg=reason,
    )
    return JSONResponse(answer.model_dump(by_alias=True), status_code=status, headers=headers)


def _fault(error: dict[str, Any]) -> dict[str, str]:
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"])
    return {"type": error["type"], "loc": place.removeprefix("."), "msg": error["msg"]}
