"""RapidOCR's own server: ``python -m … <values as JSON>``, in its environment.

Values: ``host``, ``port``, ``threads``, ``openvino``. Its command line has no option for the number
of threads or the engine, so the reader that it makes is given these here.
"""

import functools
import importlib
import json
import sys
from typing import Any


def main() -> None:
    """Serve until told to end."""
    values = json.loads(sys.argv[1])
    package: Any = importlib.import_module("rapidocr")
    package.RapidOCR = functools.partial(package.RapidOCR, params=settings(package, values))
    server = importlib.import_module("rapidocr_api.main")  # makes its reader
    importlib.import_module("uvicorn").run(server.app, host=values["host"], port=values["port"])


def settings(package: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Engine and threads, as RapidOCR names them; its models are the small v6 ones anyway."""
    engine = package.EngineType.OPENVINO if values["openvino"] else package.EngineType.ONNXRUNTIME
    return {
        "Det.engine_type": engine,
        "Rec.engine_type": engine,
        "EngineConfig.openvino.inference_num_threads": values["threads"],
        "EngineConfig.onnxruntime.intra_op_num_threads": values["threads"],
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }


if __name__ == "__main__":
    main()
