"""Process of ppocr's side: ``python -m … <JSON>``; see :mod:`ocr_pipeline.benchmarks.loader`.

Runs in an environment of its own: nothing of this package but the protocol may be imported here.
"""

import importlib
import json
import logging
import random
import sys
from collections.abc import Generator
from typing import Any

from ocr_pipeline.benchmarks.interleave import protocol, serve_steps
from ocr_pipeline.benchmarks.pausing import DrawnBatches
from ocr_pipeline.paddle_environment import keep_freed_memory

_SEED = 1024
_WIDTH = 320
_MAX_LABEL = 25


def main() -> None:
    """Build the pipeline that the argument describes and draw batches."""
    values = json.loads(sys.argv[1])
    keep_freed_memory()  # its own users do not; so both sides allocate alike
    with protocol() as answers:
        drawn = DrawnBatches(build(values), count=values["batches"], steps=values["steps"])
        serve_steps(drawn.step, {"shapes": drawn.shapes()}, answers)


def build(values: dict[str, Any]) -> Generator[list[Any], None, None]:
    """Endless batches of ``ppocr.data.build_dataloader``, pictures first.

    Args:
        values: task, sources, data, list, repeats, dictionary, heights, batch, workers.
    """
    sys.path.insert(0, values["sources"])
    import numpy as np
    import paddle

    random.seed(_SEED)
    np.random.seed(_SEED)
    paddle.seed(_SEED)
    config = det_config(values) if values["task"] == "det" else rec_config(values)
    data = importlib.import_module("ppocr.data")
    logger = logging.getLogger("ppocr")
    loader = data.build_dataloader(config, "Train", paddle.CPUPlace(), logger, _SEED)
    return _endless(loader)


def _endless(loader: Any) -> Generator[list[Any], None, None]:
    while True:
        yield from loader


def rec_config(values: dict[str, Any]) -> dict[str, Any]:
    """What ``ch_PP-OCRv4_rec.yml`` says of training data; only paths, sizes and workers differ."""
    heights, batch = values["heights"], values["batch"]
    transforms: list[dict[str, Any]] = [
        {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
        {
            "RecConAug": {
                "prob": 0.5,
                "ext_data_num": 2,
                "image_shape": [48, _WIDTH, 3],
                "max_text_length": _MAX_LABEL,
            }
        },
        {"RecAug": None},
        {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
        _keep("image", "label_ctc", "label_gtc", "length", "valid_ratio"),
    ]
    dataset = {"name": "MultiScaleDataSet", "ds_width": False, "ext_op_transform_idx": 1}
    config = _config(values, dataset, transforms, drop_last=True)
    config["Global"] = {
        "character_dict_path": values["dictionary"],
        "max_text_length": _MAX_LABEL,
        "use_space_char": True,
    }
    config["Train"]["sampler"] = {
        "name": "MultiScaleSampler",
        "scales": [[_WIDTH, height] for height in heights],
        "first_bs": round(batch * 48 / heights[0]),  # of the first height
        "fix_bs": False,
        "divided_factor": [8, 16],
        "is_training": True,
    }
    return config


def det_config(values: dict[str, Any]) -> dict[str, Any]:
    """What ``PP-OCRv4_mobile_det.yml`` says of training data; only paths and workers differ."""
    epochs = 500
    augmenters = [
        {"type": "Fliplr", "args": {"p": 0.5}},
        {"type": "Affine", "args": {"rotate": [-10, 10]}},
        {"type": "Resize", "args": {"size": [0.5, 3]}},
    ]
    crop = {"size": [640, 640], "max_tries": 50, "keep_ratio": True}
    border = {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7, "total_epoch": epochs}
    shrink = {"shrink_ratio": 0.4, "min_text_size": 8, "total_epoch": epochs}
    normalise = {
        "scale": "1./255.",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "order": "hwc",
    }
    transforms: list[dict[str, Any]] = [
        {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
        {"DetLabelEncode": None},
        {"CopyPaste": None},
        {"IaaAugment": {"augmenter_args": augmenters}},
        {"EastRandomCropData": crop},
        {"MakeBorderMap": border},
        {"MakeShrinkMap": shrink},
        {"NormalizeImage": normalise},
        {"ToCHWImage": None},
        _keep("image", "threshold_map", "threshold_mask", "shrink_map", "shrink_mask"),
    ]
    return _config(values, {"name": "SimpleDataSet"}, transforms, drop_last=False)


def _keep(*names: str) -> dict[str, Any]:
    return {"KeepKeys": {"keep_keys": list(names)}}


def _config(
    values: dict[str, Any],
    dataset: dict[str, Any],
    transforms: list[dict[str, Any]],
    *,
    drop_last: bool,
) -> dict[str, Any]:
    repeats = values["repeats"]
    loader = {
        "shuffle": True,
        "drop_last": drop_last,
        "batch_size_per_card": values["batch"],
        "num_workers": values["workers"],
    }
    where = {"data_dir": values["data"], "label_file_list": [values["list"]] * repeats}
    dataset = {**dataset, **where, "ratio_list": [1.0] * repeats, "transforms": transforms}
    return {"Global": {}, "Train": {"dataset": dataset, "loader": loader}}


if __name__ == "__main__":
    main()
