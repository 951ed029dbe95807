"""Each number of the pre- and post-processing is changed, one at a time: the probes must tell."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.ops.rule_probes import rules_differ

DET = DetModelSpec(size="tiny", decode=DBDecodeSpec(reading_margin=0.2))
REC = RecModelSpec(size="tiny", classes=100)
RULES = {"det": (DET, ("image", "decode")), "rec": (REC, ("image",))}


def changes() -> Iterator[tuple[str, str, str, object]]:
    """(task, part, field, another value) of every field of every part; none is listed by hand."""
    for task, (spec, parts) in RULES.items():
        for part in parts:
            rules: BaseModel = getattr(spec, part)
            for field, value in rules:
                for changed in others(field, value):
                    yield task, part, field, changed


def others(field: str, value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for index, number in enumerate(value):
            yield (*value[:index], number * 1.001, *value[index + 1 :])
    elif isinstance(value, int):
        step = 32 if field == "multiple" else 1
        yield from (value + step, *((value - step,) if value > step else ()))
    else:
        assert isinstance(value, float)
        yield from (value * 1.02, value * 0.98)


@pytest.mark.parametrize(("task", "part", "field", "changed"), list(changes()))
def test_another_number_shows(task: str, part: str, field: str, changed: object) -> None:
    spec, _ = RULES[task]
    rules = getattr(spec, part)
    other = spec.model_copy(update={part: rules.model_copy(update={field: changed})})
    assert rules_differ(spec, other) is not None


def test_the_same_numbers_do_not() -> None:
    for spec, _ in RULES.values():
        read = type(spec).model_validate_json(spec.model_dump_json())
        assert rules_differ(spec, read) is None
    assert rules_differ(DET, REC) == "one is for det, the other for rec"
