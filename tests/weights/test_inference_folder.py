"""Real inference models, in folders as users have them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.resize import rec_input
from ocr_pipeline.weights import inference_folder
from ocr_pipeline.weights.catalog import RELEASES, released_charset, released_file
from ocr_pipeline.weights.inference_folder import find_charset, load_inference_model
from ocr_pipeline.weights.inference_yml import InferenceRules
from ocr_pipeline.weights.readers import read_records
from ocr_pipeline.weights.records import Record
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.trainable import TrainableModel
from tests.weights.real_files import V4, V5_DICTIONARY, V5_PIR, V5_RULES, real_file, real_folder

TINY_DET = "ppocrv6_tiny_det"


def check_same_weights(found: TrainableModel, expected: TrainableModel) -> None:
    ours, theirs = found.network.state_dict(), expected.network.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert np.array_equal(ours[name].numpy(), tensor.numpy()), name


def test_a_v5_recognizer_as_paddlex_keeps_it(tmp_path: Path, released_weights: None) -> None:
    folder = real_folder([*V5_PIR["rec"], V5_RULES["rec"]], tmp_path)
    model, released = load_inference_model(folder), load_released("ppocrv5_mobile_rec")
    assert model.spec == RecModelSpec(family="ppocrv5", size="mobile", classes=18385)
    assert model.charset is not None
    assert model.charset.classes == 18385
    assert model.charset == released.charset
    assert model.started_from == "PP-OCRv5_mobile_rec"
    assert model.sha256 == sha256_of(folder / "inference.pdiparams")
    assert not model.network.training
    check_same_weights(model, released)
    line = rec_input(model.golden[0], released.spec.image)[None]
    expected = NetworkEngine(released.network, task="rec").run(line)
    assert expected.max() > 0.5  # it reads something
    assert np.array_equal(NetworkEngine(model.network, task="rec").run(line), expected)


def test_a_v5_detector_takes_its_thresholds_from_the_rules(
    tmp_path: Path, released_weights: None
) -> None:
    folder = real_folder([*V5_PIR["det"], V5_RULES["det"]], tmp_path)
    rules = folder / "inference.yml"
    text = rules.read_text(encoding="utf-8")
    assert text.count("box_thresh: 0.6") == 1
    rules.write_text(text.replace("box_thresh: 0.6", "box_thresh: 0.55"), encoding="utf-8")
    model = load_inference_model(folder)
    decode = DBDecodeSpec(
        threshold=0.3, min_score=0.55, unclip_ratio=1.5, reading_margin=0.2, max_candidates=1000
    )
    assert model.spec == DetModelSpec(family="ppocrv5", size="mobile", decode=decode)
    assert model.charset is None
    check_same_weights(model, load_released("ppocrv5_mobile_det"))


def test_a_v4_recognizer_without_a_dictionary_has_the_released_one(
    tmp_path: Path, released_weights: None
) -> None:
    model = load_inference_model(real_folder(V4["rec"], tmp_path))
    released = load_released("ppocrv4_mobile_rec")
    assert model.spec == released.spec
    assert model.charset == released.charset
    assert model.started_from == str(tmp_path)
    check_same_weights(model, released)


def test_a_v4_detector_is_named_v4_by_its_rules_only(
    tmp_path: Path, released_weights: None
) -> None:
    folder = real_folder(V4["det"], tmp_path)
    assert load_inference_model(folder).spec == RELEASES["ppocrv5_mobile_det"].spec
    (folder / "inference.yml").write_text("Global:\n  model_name: PP-OCRv4_mobile_det\n")
    model = load_inference_model(folder)
    assert model.spec == RELEASES["ppocrv4_mobile_det"].spec
    check_same_weights(model, load_released("ppocrv4_mobile_det"))


def test_an_onnx_file_is_known_by_its_layers_not_its_name(
    tmp_path: Path, released_weights: None
) -> None:
    path = tmp_path / "ppocrv5_rec_of_mine.onnx"
    shutil.copyfile(released_file(TINY_DET), path)
    model = load_inference_model(path)
    assert model.spec == RELEASES[TINY_DET].spec  # the released thresholds too
    assert model.sha256 == sha256_of(path)
    assert len(model.golden) == 2
    check_same_weights(model, load_released(TINY_DET))


def test_a_threshold_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    folder = real_folder(V4["det"], tmp_path)
    (folder / "inference.yml").write_text("PostProcess:\n  thresh: 1\n  box_thresh: 1.0\n")
    with pytest.raises(WeightsError, match=r"inference\.yml: .*threshold 1\.0: .*; min_score 1\.0"):
        load_inference_model(folder)


# Dictionaries.


def test_a_dictionary_of_another_length_names_both_numbers(tmp_path: Path) -> None:
    folder = real_folder(V5_PIR["rec"], tmp_path)
    lines = real_file(V5_DICTIONARY).read_text(encoding="utf-8").splitlines(keepends=True)
    dictionary = folder / "my_dict.txt"
    dictionary.write_text("".join(lines[:-3]), encoding="utf-8")
    with pytest.raises(
        WeightsError,
        match=r"my_dict.txt: 18380 entries make 18382 classes .*the network has 18385; .*18383 lin",
    ):
        load_inference_model(folder)


SPEC = RecModelSpec(family="ppocrv5", size="mobile", classes=18385)


def test_the_rules_come_before_a_file_and_a_file_before_the_released_dictionary(
    tmp_path: Path,
) -> None:
    spec = RecModelSpec(size="small", classes=5)
    model = tmp_path / "inference.onnx"
    (tmp_path / "dict.txt").write_text("x\ny\nz\n")
    assert find_charset(spec, InferenceRules(dictionary=("a", "b", "c")), model) == Charset("abc")
    assert find_charset(spec, InferenceRules(), model) == Charset("xyz")
    with pytest.raises(WeightsError, match=r"inference.yml: 2 entries make 4 classes"):
        find_charset(spec, InferenceRules(dictionary=("a", "b")), model)
    # Also where a released dictionary would fit: the file beside the model is the user's word.
    with pytest.raises(WeightsError, match=r"dict.txt: 3 entries make 5 classes"):
        find_charset(SPEC, InferenceRules(), model)
    (tmp_path / "labels.txt").write_text("a.png\tx\n")
    with pytest.raises(WeightsError, match=r"no dictionary; .*18383 lines .*: dict.txt, labels.tx"):
        find_charset(SPEC, InferenceRules(), model)


def test_the_released_dictionary_stands_in_for_the_same_network_only(
    tmp_path: Path, released_weights: None
) -> None:
    model = tmp_path / "inference.onnx"
    found = find_charset(SPEC, InferenceRules(), model)
    assert found == released_charset("ppocrv5_mobile_rec")
    for change in (
        {"classes": 18384},
        {"family": "ppocrv4"},
        {"family": "ppocrv6", "size": "small"},
    ):
        with pytest.raises(WeightsError, match=r"no dictionary; .*found: none"):
            find_charset(SPEC.model_copy(update=change), InferenceRules(), model)


# What is no model, or no known one.


def _without(index: int) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [*records[:index], *records[index + 1 :]]


def _twice(index: int) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [*records[: index + 1], *records[index:]]


@pytest.mark.parametrize(
    ("change", "count", "difference"),
    [
        (
            _without(40),
            84,
            r"record 40 does not fit: the network expects backbone\.stages\.2\.4\.mix_tokens: "
            r"conv \[64, 1, 3, 3\], the file has conv \[128, 64, 1, 1\]",
        ),
        (_without(84), 84, r"no record left for head\.up2: conv_transpose \[16, 1, 2, 2\]"),
        (_twice(0), 86, r"record 1 does not fit: the network expects backbone\.stem\.left: conv "),
        (_twice(84), 86, r"86 layers in the file, 85 in the network; first left over: conv_tra"),
    ],
    ids=["one in the middle is gone", "the last is gone", "the first twice", "the last twice"],
)
def test_a_model_with_one_layer_more_or_less_names_the_nearest_network(
    change: Callable[[list[Record]], list[Record]],
    count: int,
    difference: str,
    monkeypatch: pytest.MonkeyPatch,
    released_weights: None,
) -> None:
    monkeypatch.setattr(inference_folder, "read_records", lambda path: change(read_records(path)))
    with pytest.raises(
        WeightsError,
        match=rf"det\.onnx: {count} layers, no known network fits\. Nearest: .*det\.onnx as "
        rf"{TINY_DET}: ({difference})",
    ):
        load_inference_model(released_file(TINY_DET))


def test_a_classifier_of_orientation_is_no_known_network(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"inference\.pdmodel: \d+ layers, no known network fit"):
        load_inference_model(real_folder(V4["cls"], tmp_path))


def test_a_folder_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(
        WeightsError, match=r"no model in it; looked for inference\.json, .*found readme\.md"
    ):
        load_inference_model(tmp_path)
    with pytest.raises(WeightsError, match=r"absent: does not exist"):
        load_inference_model(tmp_path / "absent")
