import re

import numpy as np
import pytest

from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.nrtr_tokens import encode_tokens, token_count

CHARSET = Charset(["一", "A", "¥"])


def test_tokens_are_four_marks_then_the_dictionary_then_the_space() -> None:
    assert CHARSET.classes == 5
    assert token_count(CHARSET.classes) == 4 + len(CHARSET.dictionary) + 1
    inputs, targets = encode_tokens([CHARSET.encode("一A¥ ")], classes=CHARSET.classes)
    assert inputs.tolist() == [[2, 4, 5, 6, 7]]
    assert targets.tolist() == [[4, 5, 6, 7, 3]]
    assert targets.max() == token_count(CHARSET.classes) - 1


def test_shorter_labels_are_padded_on_the_right() -> None:
    labels = [CHARSET.encode(text) for text in ("A", "¥A ", "一一")]
    inputs, targets = encode_tokens(labels, classes=CHARSET.classes)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.tolist() == [[2, 5, 0, 0], [2, 6, 5, 7], [2, 4, 4, 0]]
    assert targets.tolist() == [[5, 3, 0, 0], [6, 5, 7, 3], [4, 4, 3, 0]]


def test_an_empty_label_is_begin_then_end() -> None:
    inputs, targets = encode_tokens([[]], classes=5)
    assert (inputs.tolist(), targets.tolist()) == ([[2]], [[3]])


def test_indices_outside_the_character_set_are_refused() -> None:
    message = (
        "label 1: class indices [0, 5] outside [1, 5); leave out blanks and padding, and encode "
        "with the character set of the network"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        encode_tokens([[1, 4], [1, 0, 5]], classes=5)


def test_no_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no labels; give at least one"):
        encode_tokens([], classes=5)
