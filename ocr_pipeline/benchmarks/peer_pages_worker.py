"""Process of a peer that reads pages: ``python -m … <values as JSON>``, in the peer's environment.

Values: ``peer`` and ``size``; ``threads``; ``models``: paths of det, rec, dictionary (all sizes),
and of det_folder and rec_folder for PaddleOCR. Each peer is set as its own pages advise where speed
on a CPU is wanted, and else left as it is.
"""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ocr_pipeline.benchmarks.interleave import protocol, serve
from ocr_pipeline.benchmarks.reading import Found, Read, answer_with


def main() -> None:
    """Build the peer that the argument names, and read what it is told to."""
    with protocol() as answers:
        values = json.loads(sys.argv[1])
        read = PEERS[values["peer"]](values)
        read(values["first"])  # some load their networks only then
        serve(answer_with(read), {}, answers)


def rapidocr(values: dict[str, Any]) -> Read:
    """RapidOCR: its own copies of the small networks, the released files for others."""
    package = importlib.import_module("rapidocr")
    openvino = "openvino" in values["peer"]
    runtime = package.EngineType.OPENVINO if openvino else package.EngineType.ONNXRUNTIME
    settings: dict[str, Any] = {f"{part}.engine_type": runtime for part in ("Det", "Cls", "Rec")}
    settings |= {
        "Global.log_level": "error",
        "Global.use_cls": values["peer"].endswith("-cls"),
        "EngineConfig.openvino.inference_num_threads": values["threads"],
        "EngineConfig.onnxruntime.intra_op_num_threads": values["threads"],
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }
    if values["size"] != "small":
        settings |= {
            "Det.model_type": package.ModelType.TINY,
            "Rec.model_type": package.ModelType.TINY,
            "Det.model_path": values["models"]["det"],
            "Rec.model_path": values["models"]["rec"],
            "Rec.rec_keys_path": values["models"]["dictionary"],
        }
    engine = package.RapidOCR(params=settings)

    def read(path: str) -> Sequence[Found]:
        page = engine(path)
        # Nothing found: the fields are None.
        return [] if page.txts is None else list(map(Found, page.boxes.tolist(), page.txts))

    return read


def rapidocrlite(values: dict[str, Any]) -> Read:
    """RapidOCRLite: its own engine; ``fast_mode`` reads each line at about its own width."""
    package = importlib.import_module("rapidocr")
    settings = {
        "Det.model_path": values["models"]["det"],
        "Rec.model_path": values["models"]["rec"],
        "Rec.rec_keys_path": values["models"]["dictionary"],
        "Rec.fast_mode": True,
        "Global.use_cls": False,
        "Global.log_level": "error",
    }
    engine = package.RapidOCR(params=settings)

    def read(path: str) -> Sequence[Found]:
        page = engine(path)
        return [] if page.txts is None else list(map(Found, page.boxes, page.txts))

    return read


def paddleocr(values: dict[str, Any]) -> Read:
    """PaddleOCR with ONNX Runtime, without the three networks that turn and flatten pages."""
    engine = importlib.import_module("paddleocr").PaddleOCR(
        text_detection_model_name=f"PP-OCRv6_{values['size']}_det",
        text_detection_model_dir=values["models"]["det_folder"],
        text_recognition_model_name=f"PP-OCRv6_{values['size']}_rec",
        text_recognition_model_dir=values["models"]["rec_folder"],
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        device="cpu",
        engine="onnxruntime",
        engine_config={"intra_op_num_threads": values["threads"], "inter_op_num_threads": 1},
    )

    def read(path: str) -> Sequence[Found]:
        page = engine.predict(path)[0]
        return [
            Found(points.tolist(), text)
            for points, text in zip(page["rec_polys"], page["rec_texts"], strict=True)
        ]

    return read


def faster_paddle(values: dict[str, Any]) -> Read:
    """faster-paddle: its own copies of the networks; it gives upright boxes only."""
    package = importlib.import_module("faster_paddle")
    engine = package.OcrEngine(model_size=values["size"], threads=values["threads"])

    def read(path: str) -> Sequence[Found]:
        bounds = engine.ocr(Path(path).read_bytes())["bounds"]
        return [
            Found(_upright(*line["topLeftCoord"], *line["bottomRightCoord"]), line["text"])
            for line in bounds.values()
        ]

    return read


def _upright(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


PEERS: dict[str, Callable[[dict[str, Any]], Read]] = {
    "rapidocr-openvino": rapidocr,
    "rapidocr-openvino-cls": rapidocr,
    "rapidocr-onnxruntime": rapidocr,
    "paddleocr": paddleocr,
    "faster-paddle": faster_paddle,
    "rapidocrlite": rapidocrlite,
}

if __name__ == "__main__":
    main()
