"""Process of one side: ``python -m … (ppocr | <form>) (plain | tuned) <network> <batch> <width>``.

Both sides see the same pictures and labels, drawn from one seed.
"""

import sys
from collections.abc import Callable
from typing import Any

from ocr_pipeline.benchmarks.interleave import protocol, serve_steps
from ocr_pipeline.paddle_environment import keep_freed_memory

_HEIGHT = 48
_MAX_CHARACTERS = 25
_SEED = 20


def main() -> None:
    """Build the side that the arguments name and take steps."""
    what, settings, network = sys.argv[1:4]
    batch, width = (int(word) for word in sys.argv[4:6])
    if settings == "tuned":
        keep_freed_memory()
    with protocol() as answers:
        step, parameters = build(what, network, batch, width)
        serve_steps(step, {"parameters": parameters}, answers)


def build(what: str, network: str, batch: int, width: int) -> tuple[Callable[[], float], int]:
    """Return (one training step that gives its loss, number of parameters) of a side."""
    import numpy as np
    import paddle

    from ocr_pipeline.benchmarks.train_step import CLASSES

    paddle.set_device("cpu")
    paddle.seed(_SEED)
    random = np.random.default_rng(_SEED)
    classes = CLASSES[network]
    # A repeated character needs a blank between: half of the time steps is always enough.
    characters = min(_MAX_CHARACTERS, width // 16)
    images = random.standard_normal((batch, 3, _HEIGHT, width)).astype(np.float32)
    labels = random.integers(1, classes, (batch, characters)).astype(np.int32)
    lengths = np.full(batch, characters, np.int64)
    tensors = [paddle.to_tensor(array) for array in (images, labels, lengths)]
    if what == "ppocr":
        from ocr_pipeline.benchmarks.ppocr import ppocr_v4_step

        return ppocr_v4_step(*tensors)
    return _our_step(what, network, classes, *tensors)


def _our_step(
    form: str, name: str, classes: int, images: Any, labels: Any, lengths: Any
) -> tuple[Callable[[], float], int]:
    from pydantic import TypeAdapter

    from ocr_pipeline.artifacts.dataset import RecSample
    from ocr_pipeline.config.model import RecModelSpec
    from ocr_pipeline.config.train import OptimConfig
    from ocr_pipeline.errors import ImageError
    from ocr_pipeline.models.build import build_network
    from ocr_pipeline.ops.charset import Charset
    from ocr_pipeline.ops.decode import BGRImage
    from ocr_pipeline.training.optimizer import build_optimizer
    from ocr_pipeline.training.rec_loader import RecBatch
    from ocr_pipeline.training.rec_task import RecTask
    from ocr_pipeline.weights.trainable import TrainableModel

    family, size, _ = name.split("_")
    values = {"family": family, "size": size, "classes": classes, "form": form}
    spec = TypeAdapter(RecModelSpec).validate_python(values)
    network = build_network(spec)
    charset = Charset([chr(0x4E00 + index) for index in range(classes - 2)])
    model = TrainableModel(spec, network, charset, golden=[], started_from=name, sha256="")

    def read_nothing(_sample: RecSample) -> BGRImage:
        raise ImageError("this task has no validation part")

    task = RecTask(model, spec, charset, [], read_nothing, batch=len(images))
    optimizer = build_optimizer(network, OptimConfig())
    batch = RecBatch(images, labels, lengths)
    network.train()

    def step() -> float:  # as training.fit takes it, without a loss scaler
        loss = task.loss(batch)["total"]
        value = float(loss)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return value

    return step, sum(parameter.size for parameter in network.parameters())


if __name__ == "__main__":
    main()
