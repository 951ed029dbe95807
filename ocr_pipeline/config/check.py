"""What the dataset linter looks for, and what it does with what it finds."""

import difflib

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.faults import FAULT_BY_NAME, Action


class CheckConfig(Config):
    """Policies and thresholds of the dataset linter; docs/linter.md lists the faults."""

    policies: dict[str, Action] = {}
    """What is done with a fault, by its name: ``refuse``, ``fix`` or ``keep``; else its default."""
    min_height: PositiveInt = 8
    """A line or picture less high is tiny, px."""
    min_width: PositiveInt = 4
    """A line or picture less wide is tiny, px."""
    blank_range: NonNegativeInt = 6
    """A picture is blank when its darkest and brightest grey differ by no more, of 255."""
    crowded: NonNegativeFloat = 0.25
    """A label is implausible with less than this share of the width that its characters need."""
    sparse: NonNegativeFloat = 8.0
    """A label is implausible with more than this many times the width that its characters need."""
    guide_max_length: PositiveInt = 25
    """Longest label that the released NRTR decoder was trained on is two characters shorter."""
    outside_px: NonNegativeFloat = 1.0
    """A point may lie so far beyond the picture, px: rounding of label tools."""
    region_overlap: float = Field(default=0.9, gt=0, le=1)
    """Regions whose intersection over union is above this are drawn twice."""
    near_bits: NonNegativeInt = Field(default=6, le=16)
    """Pictures whose 64-bit perceptual hashes differ in more bits are not compared closely."""
    near_difference: NonNegativeFloat = 0.45
    """Pictures are nearly the same when no spot of their thumbnails differs by more, in standard
    deviations of grey; for leaks."""
    conflict_difference: NonNegativeFloat = 0.85
    """The same where their labels differ, which is said only: a wider net."""
    rare_below: NonNegativeInt = 5
    """A character with fewer examples in the training part is rare."""
    dominant_share: float = Field(default=0.1, gt=0, le=1)
    """A text that makes up more of the training part dominates it."""
    character_share: float = Field(default=0.8, gt=0, le=1)
    """A character that stands in more of the training labels is unevenly spread."""
    digit_ratio: float = Field(default=0.1, ge=0, lt=1)
    """A digit with less than this share of the digits' mean count is unevenly spread."""
    min_samples: PositiveInt = 50
    """Smaller training parts are not judged as a whole."""

    @field_validator("policies")
    @classmethod
    def _check_policies(cls, value: dict[str, Action]) -> dict[str, Action]:
        faults = [wrong for name, action in value.items() if (wrong := _wrong(name, action))]
        if faults:
            raise ValueError("; ".join(faults))
        return value

    def action(self, name: str) -> Action:
        """What is done with a fault."""
        return self.policies.get(name, FAULT_BY_NAME[name].default)


def _wrong(name: str, action: Action) -> str | None:
    fault = FAULT_BY_NAME.get(name)
    if fault is None:
        close = difflib.get_close_matches(name, list(FAULT_BY_NAME), n=1)
        hint = f"did you mean {close[0]}?" if close else "docs/linter.md lists them"
        return f"{name}: no such fault ({hint})"
    if action not in fault.actions:
        return f"{name}: {action} is not possible; allowed: {', '.join(fault.actions)}"
    return None
