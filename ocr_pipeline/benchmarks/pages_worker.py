"""Process of our side that reads pages: ``python -m … <values as JSON>``.

Values: ``det``, ``rec``: folders of exported models; ``engine``: of
:class:`~ocr_pipeline.config.engine.EngineConfig`; ``det_rule``: one of
:data:`~ocr_pipeline.benchmarks.peers.DET_RULES`; ``first``: a picture to be read before it is
ready; ``profile``: answer with the time of each step instead.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from ocr_pipeline.benchmarks.interleave import protocol, serve
from ocr_pipeline.benchmarks.reading import Found, Read, answer_with


def main() -> None:
    """Load the models that the argument names, and read what it is told to."""
    with protocol() as answers:
        values = json.loads(sys.argv[1])
        reader = load(values)
        said = {name: part.lanes for name, part in engines(reader).items()}
        answer: Callable[[str], dict[str, Any]]
        if values.get("profile"):
            from ocr_pipeline.benchmarks.pages_profile import profile_page

            answer = partial(profile_page, reader)
        else:
            answer = answer_with(reading(reader))
        reader.read(values["first"])
        serve(answer, said, answers)


def load(values: dict[str, Any]) -> Any:
    """Return the reader, with another rule for the detector's input where one is named."""
    from ocr_pipeline.benchmarks.peers import DET_RULES
    from ocr_pipeline.config.engine import EngineConfig
    from ocr_pipeline.inference import OcrReader

    reader = OcrReader.load(values["det"], values["rec"], EngineConfig(**values["engine"]))
    rule = DET_RULES[values["det_rule"]]
    if rule is not None:
        spec = reader.detector.spec
        image = spec.image.model_copy(update={"min_side": rule.min_side, "max_side": rule.max_side})
        reader.detector.spec = spec.model_copy(update={"image": image})
    return reader


def engines(reader: Any) -> dict[str, Any]:
    """The engine of each network."""
    return {"det": reader.detector.engine, "rec": reader.recognizer.engine}


def reading(reader: Any) -> Read:
    """From a path to the lines of the page, in reading order."""

    def read(path: str) -> list[Found]:
        return [Found(line.points.tolist(), line.text) for line in reader.read(path).lines]

    return read


if __name__ == "__main__":
    main()
