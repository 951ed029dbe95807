"""Other training forms and other character sets: what must not change, does not."""

from collections.abc import Sequence

import numpy as np
import pytest

from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.evaluation.lines import evaluate_lines
from ocr_pipeline.evaluation.sources import labelled_lines
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.models.reparam import LargeKernelConv, RepConv, TokenConv
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import decode_greedy
from ocr_pipeline.ops.resize import det_input, rec_input
from ocr_pipeline.weights.catalog import RELEASED_NAMES
from ocr_pipeline.weights.reform import with_charset, with_spec
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.tensors import get_weights
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import SHARED

PLATE_CHARACTERS = (
    "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新警学挂港澳"
    "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
)
"""70: the provinces, what special plates hold, digits, letters without I and O."""


def answers(model: TrainableModel) -> list[np.ndarray]:
    engine = NetworkEngine(model.network, task=model.spec.task)
    spec = model.spec
    if isinstance(spec, DetModelSpec):
        return [engine.run(det_input(picture, spec.image)) for picture in model.golden]
    return [engine.run(rec_input(picture, spec.image)[None]) for picture in model.golden]


def texts(model: TrainableModel) -> list[str]:
    assert model.charset is not None
    return [line.text for probs in answers(model) for line in decode_greedy(probs, model.charset)]


def changed(model: TrainableModel, **changes: object) -> TrainableModel:
    values = {**model.spec.model_dump(), **changes}
    return with_spec(model, type(model.spec).model_validate(values))


@pytest.mark.parametrize("name", RELEASED_NAMES)
def test_released_weights_in_all_branches_say_the_same(name: str, released_weights: None) -> None:
    model = load_released(name)
    branched = changed(model, form="multi_branch")
    units = [type(layer) for layer in branched.network.sublayers()]
    assert any(unit in (TokenConv, LargeKernelConv, RepConv) for unit in units)
    for before, after in zip(answers(model), answers(branched), strict=True):
        assert np.abs(before - after).max() <= 2e-5
    back = changed(branched, form="calibrated")
    assert get_weights(back.network).keys() == get_weights(model.network).keys()
    for before, after in zip(answers(model), answers(back), strict=True):
        assert np.abs(before - after).max() <= 2e-5


def test_branches_for_training_start_fresh_and_can_be_left_out(released_weights: None) -> None:
    model = load_released("ppocrv6_tiny_det")
    extended = changed(model, threshold=True, auxiliary=True)
    assert any(name.startswith("threshold.") for name in get_weights(extended.network))
    plain = with_spec(extended, extended.spec.deployed())
    for before, after in zip(answers(model), answers(plain), strict=True):
        np.testing.assert_array_equal(before, after)


def test_another_network_is_refused(released_weights: None) -> None:
    model = load_released("ppocrv6_tiny_rec")
    with pytest.raises(
        WeightsError, match="ppocrv6 tiny rec of 6906 classes, it cannot become .*7"
    ):
        changed(model, classes=7)
    with pytest.raises(WeightsError, match="cannot become ppocrv6 small"):
        changed(model, size="small")


def union(old: Charset, more: Sequence[str]) -> Charset:
    return Charset([*old.dictionary, *more])


@pytest.fixture(scope="module")
def tiny(released_weights: None) -> TrainableModel:
    return load_released("ppocrv6_tiny_rec")


def test_more_characters_change_nothing_on_old_text(tiny: TrainableModel) -> None:
    assert tiny.charset is not None
    new = [chr(code) for code in range(0xAC00, 0xAC00 + 50)]  # Hangul, not in the dictionary
    more, change = with_charset(tiny, union(tiny.charset, new), "union")
    assert (change.kept, len(change.new), change.dropped) == (6904, 50, ())
    assert more.spec.classes == tiny.spec.classes + 50
    assert texts(more) == texts(tiny)
    # The space stays the last class.
    assert get_weights(more.network)["head.bias"][-1] == get_weights(tiny.network)["head.bias"][-1]


def test_weights_move_with_their_characters(tiny: TrainableModel) -> None:
    assert tiny.charset is not None
    wanted = Charset(["9", "Q", "가", "0"])
    small, change = with_charset(tiny, wanted, "new")
    assert (change.kept, change.new, len(change.dropped)) == (3, ("가",), 6904 - 3)
    old, new = get_weights(tiny.network), get_weights(small.network)
    for index, entry in enumerate(("9", "Q", None, "0"), start=1):
        if entry is not None:
            row = tiny.charset.index(entry)
            np.testing.assert_array_equal(new["head.weight"][:, index], old["head.weight"][:, row])
            assert new["head.bias"][index] == old["head.bias"][row]
    np.testing.assert_array_equal(new["head.weight"][:, 0], old["head.weight"][:, 0])
    np.testing.assert_array_equal(new["head.weight"][:, 5], old["head.weight"][:, -1])
    np.testing.assert_allclose(
        new["head.weight"][:, 3], old["head.weight"][:, 1:].mean(axis=1), atol=1e-6
    )


def test_the_guide_moves_as_well(tiny: TrainableModel) -> None:
    guided = changed(tiny, guide=True)
    assert guided.charset is not None
    small, _ = with_charset(guided, Charset(["9", "가"]), "new")
    old, new = get_weights(guided.network), get_weights(small.network)
    row = guided.charset.index("9")
    assert row is not None
    for name, axis in (("guide.embed.weight", 0), ("guide.head.weight", 1)):
        before, after = np.moveaxis(old[name], axis, 0), np.moveaxis(new[name], axis, 0)
        assert after.shape[0] == 4 + 2 + 1
        np.testing.assert_array_equal(after[:4], before[:4])  # pad, unknown, begin, end
        np.testing.assert_array_equal(after[4], before[row + 3])
        np.testing.assert_array_equal(after[6], before[-1])  # space


def test_what_a_mode_does_not_allow_is_said(tiny: TrainableModel) -> None:
    assert tiny.charset is not None
    same, change = with_charset(tiny, tiny.charset, "fail")
    assert same is tiny
    assert not change.new
    with pytest.raises(
        WeightsError, match=r"6906 classes, the dataset 6907 .*1 new \(가\).*charset="
    ):
        with_charset(tiny, union(tiny.charset, ["가"]), "fail")
    with pytest.raises(WeightsError, match="keeps every character.*dictionary.mode=union"):
        with_charset(tiny, Charset(["9", "가"]), "union")
    with pytest.raises(WeightsError, match="shares no character"):
        with_charset(tiny, Charset(["가", "각"]), "new")
    with pytest.raises(WeightsError, match="a detector has no character set"):
        with_charset(load_released("ppocrv6_tiny_det"), tiny.charset, "new")


def test_entries_of_two_code_points_are_read_and_moved(released_weights: None) -> None:
    model = load_released("ppocrv5_mobile_rec")
    assert model.charset is not None
    flags = [entry for entry in model.charset.dictionary if len(entry) > 1]
    assert len(flags) == 10
    text = f"A{flags[3]}B"
    indices = model.charset.encode(text)
    assert len(indices) == 3
    assert model.charset.decode(indices) == text
    small, change = with_charset(model, Charset(["A", flags[3]]), "new")
    assert change.kept == 2
    row = model.charset.index(flags[3])
    np.testing.assert_array_equal(
        get_weights(small.network)["head.weight"][:, 2],
        get_weights(model.network)["head.weight"][:, row],
    )
    assert isinstance(small.spec, RecModelSpec)


@pytest.mark.slow
def test_plates_with_fewer_and_with_more_characters(released_weights: None) -> None:
    """Step 0 on real plates: 50 more characters change no line, their own alphabet costs none."""
    folder = SHARED / "data/cn_plates"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    samples, root = labelled_lines(folder / "rec_train.txt", folder)
    samples = samples[::3]
    model = load_released("ppocrv6_small_rec")
    assert model.charset is not None
    narrow = RecImageSpec(min_width=192)
    alphabet = Charset(PLATE_CHARACTERS)
    new = [chr(code) for code in range(0xAC00, 0xAC00 + 50)]
    variants = {
        "released": model,
        "union": with_charset(model, union(model.charset, new), "union")[0],
        "new": with_charset(model, alphabet, "new")[0],
    }
    reports = {}
    for name, variant in variants.items():
        assert isinstance(variant.spec, RecModelSpec)
        assert variant.charset is not None
        spec = variant.spec.model_copy(update={"image": narrow})
        engine = NetworkEngine(variant.network, task="rec")
        recognizer = Recognizer(engine, spec, variant.charset, batch=16)
        reports[name] = evaluate_lines(recognizer, samples, root)
        print(
            f"{name}: {variant.charset.classes} classes, exact raw {reports[name].raw.exact:.1f} %"
            f", normalised {reports[name].normalised.exact:.1f} %"
        )
    assert [line.text for line in reports["union"].lines] == [
        line.text for line in reports["released"].lines
    ]
    assert reports["new"].raw.exact >= reports["released"].raw.exact
    assert reports["new"].normalised.exact >= reports["released"].normalised.exact
