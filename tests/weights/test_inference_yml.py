from pathlib import Path

import pytest

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.inference_yml import InferenceRules, read_inference_rules
from tests.weights.real_files import (
    V5_DICTIONARY,
    V5_RULES,
    V6_DICTIONARIES,
    V6_RULES,
    real_file,
)


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        (V5_RULES["det"], InferenceRules("PP-OCRv5_mobile_det", None, 0.3, 0.6, 1.5, 1000)),
        (V6_RULES["small_det"], InferenceRules("PP-OCRv6_small_det", None, 0.2, 0.45, 1.4, 3000)),
    ],
)
def test_rules_of_released_detectors(asset: object, expected: InferenceRules) -> None:
    assert read_inference_rules(real_file(asset)) == expected


@pytest.mark.parametrize(
    ("rules", "dictionary", "name", "entries"),
    [
        (V5_RULES["rec"], V5_DICTIONARY, "PP-OCRv5_mobile_rec", 18_383),
        (V6_RULES["small_rec"], V6_DICTIONARIES["small_rec"], "PP-OCRv6_small_rec", 18_708),
        (V6_RULES["tiny_rec"], V6_DICTIONARIES["tiny_rec"], "PP-OCRv6_tiny_rec", 6_904),
    ],
)
def test_dictionaries_of_released_recognizers_are_the_text_files(
    rules: object, dictionary: object, name: str, entries: int
) -> None:
    found = read_inference_rules(real_file(rules))
    lines = real_file(dictionary).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    assert found.dictionary == tuple(line.rstrip("\r") for line in lines)
    assert len(found.dictionary) == entries
    assert "\u3000" in found.dictionary
    assert found.model_name == name
    assert found.rec_image_shape == (3, 48, 320)
    assert found.thresh is None


def write(folder: Path, post: str = "", rest: str = "") -> Path:
    path = folder / "inference.yml"
    path.write_text(f"Global:\n  model_name: m\n{rest}PostProcess:\n  name: x\n{post}", "utf-8")
    return path


def test_every_entry_comes_out_as_it_is_written(tmp_path: Path) -> None:
    entries = ["1", "~", "yes", "null", "0x1F", "1e3", ".inf", "2001-01-01", "no", "1_0", "=", "<<"]
    entries += ["\u3000", "\u00a0", "\ufeff", "é", "é", "🕧", "🇨🇳"]
    text = "".join(f"  - {entry}\n" for entry in entries)
    text += "  - '　'\n  - ''''\n  - '#'\n  - \"\\\"\"\n  - ' '\n"
    found = read_inference_rules(write(tmp_path, f"  character_dict:\n{text}"))
    assert found.dictionary == (*entries, "　", "'", "#", '"', " ")


def test_a_dictionary_may_be_one_text(tmp_path: Path) -> None:
    found = read_inference_rules(write(tmp_path, "  character_dict: |\n    a\n    　\n    ~\n"))
    assert found.dictionary == ("a", "　", "~")


def test_what_is_absent_or_null_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "  thresh: null\n  character_dict:\n", "PreProcess: null\n")
    assert read_inference_rules(path) == InferenceRules("m")
    assert read_inference_rules(tmp_path) == InferenceRules("m")


@pytest.mark.parametrize(
    ("post", "expected"),
    [
        ("  thresh: 30\n", "PostProcess.thresh is '30'; allowed: a number, 0 to 1"),
        ("  box_thresh: high\n", "PostProcess.box_thresh is 'high'"),
        ("  unclip_ratio: 0\n", "PostProcess.unclip_ratio is '0'; allowed: a number, above 0"),
        ("  unclip_ratio: .nan\n", "PostProcess.unclip_ratio is '.nan'"),
        ("  unclip_ratio: nan\n", "PostProcess.unclip_ratio is 'nan'"),
        ("  max_candidates: 1.5\n", "PostProcess.max_candidates is '1.5'"),
        ("  max_candidates: [1]\n", "PostProcess.max_candidates is a list"),
        ("  character_dict: {a: b}\n", "character_dict is a mapping, expected a list"),
        ("  character_dict:\n  - a\n  - #\n", "entry 2 of 2 is '', .*put signs such as # into"),
        ("  character_dict:\n  - a\n  - [b]\n", "entry 2 of 2 is a list"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, post: str, expected: str) -> None:
    with pytest.raises(WeightsError, match=expected):
        read_inference_rules(write(tmp_path, post))


@pytest.mark.parametrize("shape", ["[3, 48]", "[3, 0, 320]", "[3, a, 320]", "48"])
def test_image_shapes_are_three_sizes(tmp_path: Path, shape: str) -> None:
    step = f"  - RecResizeImg: {{image_shape: {shape}}}\n"
    rest = f"PreProcess:\n  transform_ops:\n  - Other: null\n{step}"
    with pytest.raises(WeightsError, match="RecResizeImg.image_shape is .*three sizes"):
        read_inference_rules(write(tmp_path, "", rest))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a mapping with the keys Global and PostProcess"),
        (b"a: 1\n", "expected a mapping with the keys Global and PostProcess"),
        (b"Global: 3\n", "Global is '3', expected a mapping"),
        (b"Global: [\n", "not readable as YAML"),
        (b"\xff\xfe\x00", "not readable as YAML"),
        (b"[" * 50_000, "not readable as YAML"),
        (b"Global: !!python/object/apply:os.system [touch x]\n", "Global is a list"),
        (b"#" + b" " * (16 << 20), "16,777,217 bytes; allowed: 16,777,216"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "inference.yml"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=expected):
        read_inference_rules(path)


def test_aliases_do_not_multiply(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    path = write(tmp_path, "  thresh: *a29\n  character_dict:\n  - *a29\n", "\n".join(lines) + "\n")
    with pytest.raises(WeightsError, match="PostProcess"):
        read_inference_rules(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"inference\.yml: cannot be read \(No such file"):
        read_inference_rules(tmp_path)
