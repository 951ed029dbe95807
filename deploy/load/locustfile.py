"""Load with Locust (https://locust.io): OCR_PICTURES=FOLDER locust -f deploy/load/locustfile.py.

OCR_API_KEY: the key, where the service asks for one. Each user sends the next picture of the folder
when the last one was answered. What counts as a failure: any status but 200, and a text that is not
what the same picture gave first.
"""

import os
from itertools import count
from pathlib import Path

from locust import HttpUser, constant, task

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FOLDER = Path(os.environ.get("OCR_PICTURES", "."))
PICTURES = [
    (path.name, path.read_bytes())
    for path in sorted(FOLDER.iterdir())
    if path.suffix.lower() in SUFFIXES
]
if not PICTURES:
    raise SystemExit(f"OCR_PICTURES={FOLDER}: holds no picture ({', '.join(SUFFIXES)})")

KEY = os.environ.get("OCR_API_KEY", "")
HEADERS = {"Authorization": f"Bearer {KEY}"} if KEY else {}

_numbers = count()
_first: dict[str, str] = {}


class Reader(HttpUser):
    """One who waits for each answer."""

    host = "http://127.0.0.1:8000"
    wait_time = constant(0)

    @task
    def read(self) -> None:
        """Send one picture."""
        name, content = PICTURES[next(_numbers) % len(PICTURES)]
        files = {"file": (name, content)}
        with self.client.post(
            "/v1/ocr", files=files, headers=HEADERS, timeout=60, catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                return
            text = answer.json()["text"]
            if _first.setdefault(name, text) != text:
                answer.failure(f"{name}: not the text that it gave first")
