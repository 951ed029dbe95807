"""Run where PaddlePaddle's own clients are installed: ``official_clients.py ADDRESS PICTURE``.

Prints one JSON object: what each of them makes of the service's answers.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import requests
from paddleocr_mcp.inference.ocr.self_hosted import OCRSelfHostedInference
from paddleocr_mcp.inference.types import InferenceRequest
from paddlex.inference.serving.infra.models import AIStudioNoResultResponse, AIStudioResultResponse
from paddlex.inference.serving.schemas.ocr import InferRequest, InferResult


async def self_hosted(address: str, picture: str) -> str:
    """The client that paddleocr-mcp asks a PaddleX server with, as text for a language model."""
    client = OCRSelfHostedInference(address)
    await client.start()
    try:
        asked = InferenceRequest(
            input_data=picture, file_type="image", runtime_params=client.get_default_params()
        )
        return str(await client.predict(asked))
    finally:
        await client.stop()


def typed(address: str, picture: str) -> dict[str, Any]:
    """Requests made and answers taken apart by the server's own types, strictly."""
    body = InferRequest(file=picture, fileType=1, returnWordBox=True, logId="mine").model_dump()
    answer = requests.post(f"{address}/ocr", json=body, timeout=30)
    taken = AIStudioResultResponse[InferResult].model_validate(answer.json(), strict=True)
    (page,) = taken.result.ocrResults
    refused = requests.post(f"{address}/ocr", json={"file": "!", "fileType": 1}, timeout=30)
    told = AIStudioNoResultResponse.model_validate(refused.json(), strict=True)
    return {
        "status": answer.status_code,
        "log_id": taken.logId,
        "texts": page.prunedResult["rec_texts"],
        "words": len(page.prunedResult["text_word_boxes"]),
        "picture": base64.b64decode(page.ocrImage)[:3].hex(),
        "refused": [refused.status_code, told.errorCode],
    }


def main(address: str, path: str) -> None:
    picture = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    found = {
        "self_hosted": asyncio.run(self_hosted(address, picture)),
        "typed": typed(address, picture),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
