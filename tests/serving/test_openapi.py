"""The OpenAPI document, and whether the service does what it says (by schemathesis)."""

import base64
import io
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.ops.decode import decode_image
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.serving.app import create_app
from ocr_pipeline.serving.schemas import LinesAnswer, OcrAnswer, Problem
from tests.conftest import ExportedPair
from tests.serving.servers import Server, png, ready

OPENAPI = create_app(ServeConfig()).openapi()
LABELS = [f"{method.upper()} {path}" for path, item in OPENAPI["paths"].items() for method in item]
READING = [label for label in LABELS if label.startswith("POST /v1/")]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]


def page_of_two_frames() -> bytes:
    frame = Image.fromarray(golden_pages()[1][:, :, ::-1])
    buffer = io.BytesIO()
    frame.save(buffer, "TIFF", save_all=True, append_images=[frame])
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(
    exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("openapi") / "serve.log"
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with ready(log, *folders) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def real_pictures() -> None:
    """Half of the files are ones that can be read: else nothing but 415 would come back."""
    pictures = st.sampled_from([png(golden_pages()[1]), page_of_two_frames()])
    files = pictures | st.binary(max_size=100)
    schemathesis.openapi.format("binary", files)
    schemathesis.openapi.format("byte", files.map(lambda file: base64.b64encode(file).decode()))


def conform(server: Server, label: str, mode: GenerationMode, examples: int) -> Counter[int]:
    """Ask one operation as it says or, ``NEGATIVE``, as it does not; every answer is checked."""
    method, path = label.split()
    operation = schemathesis.openapi.from_dict(OPENAPI)[path][method]
    statuses: Counter[int] = Counter()

    @seed(0)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        answer = case.call_and_validate(base_url=str(server.client.base_url), checks=CHECKS)
        statuses[answer.status_code] += 1

    ask()
    return statuses


@pytest.mark.parametrize("label", LABELS)
def test_answers_are_those_that_are_documented(label: str, server: Server) -> None:
    statuses = conform(server, label, GenerationMode.POSITIVE, 12)
    # A file of /ocr is any text to the document, so that none made from it is a picture.
    assert statuses[422 if label == "POST /ocr" else 200] > 0
    assert server.process.poll() is None


@pytest.mark.parametrize("label", READING)
def test_requests_of_another_form_get_documented_refusals(label: str, server: Server) -> None:
    statuses = conform(server, label, GenerationMode.NEGATIVE, 12)
    assert statuses[422] > 0


def test_the_compatible_answer_of_a_page_is_the_documented_one(server: Server) -> None:
    operation = schemathesis.openapi.from_dict(OPENAPI)["/ocr"]["POST"]
    page = base64.b64encode(png(golden_pages()[1])).decode()
    case = operation.Case(body={"file": page, "fileType": 1}, media_type="application/json")
    answer = case.call_and_validate(base_url=str(server.client.base_url), checks=CHECKS)
    assert answer.status_code == 200


def test_bodies_and_answers_of_reading_routes_have_examples() -> None:
    ocr = OPENAPI["paths"]["/v1/ocr"]["post"]
    sent = ocr["requestBody"]["content"]["application/json"]["example"]["file"]
    assert decode_image(base64.b64decode(sent)).shape == (32, 32, 3)
    for model in (OcrAnswer, LinesAnswer):
        for example in model.model_json_schema()["examples"]:
            assert model.model_validate(example).model_dump(exclude_unset=True)["models"]
    for label in READING:
        method, path = label.split()
        responses = OPENAPI["paths"][path][method.lower()]["responses"]
        for status, response in responses.items():
            if status != "200":
                problem = response["content"]["application/problem+json"]["example"]
                assert Problem.model_validate(problem).status == int(status)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", READING)
def test_many_requests_get_documented_answers(
    label: str, mode: GenerationMode, server: Server
) -> None:
    conform(server, label, mode, 150)
    assert "Traceback" not in server.log()
