"""Samples a second and memory of training on a GPU: float32 against mixed precision."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from ocr_pipeline.errors import ConfigError, TrainingError

Dtype = Literal["fp32", "fp16", "bf16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
_NAMES: dict[Dtype, Literal["float32", "float16", "bfloat16"]] = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
}
_DET_SIDE = 640
_REC_SIZE = (48, 320)
_REC_CLASSES = 18710
_CHARACTERS = 20


class PrecisionResult(NamedTuple):
    """One network in one precision."""

    network: str
    dtype: str
    samples_per_s: float
    peak_mb: float


def parse_dtypes(text: str) -> list[Dtype]:
    """Split ``fp32,fp16,bf16``.

    Raises:
        ConfigError: an unknown name; all of them are given.
    """
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    known: list[Dtype] = [name for name in DTYPES if name in wanted]
    unknown = [name for name in wanted if name not in DTYPES]
    if unknown or not known:
        raise ConfigError(
            f"--amp {text!r}: unknown {', '.join(unknown) or '(nothing)'}; allowed: "
            f"{', '.join(DTYPES)}, with commas between"
        )
    return known


def run_mixed_precision(
    dtypes: Sequence[Dtype], *, batch: int, steps: int, warmup: int
) -> list[PrecisionResult]:
    """Train PP-OCRv6 small det and rec for some steps in each precision, on the first GPU.

    The detector's loss is a plain cross-entropy: what is measured is the network.

    Raises:
        TrainingError: this Paddle finds no GPU.
    """
    import paddle

    if not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0:
        raise TrainingError(
            f"--amp: paddlepaddle {paddle.__version__} finds no GPU here, and mixed precision has "
            "no effect on CPU; run it where paddlepaddle-gpu is installed, or leave --amp out"
        )
    paddle.set_device("gpu")
    results = []
    for network in ("ppocrv6_small_det", "ppocrv6_small_rec"):
        for dtype in dtypes:
            seconds, peak = _time(network, dtype, batch=batch, steps=steps, warmup=warmup)
            results.append(PrecisionResult(network, dtype, batch * steps / seconds, peak / 2**20))
    return results


def _time(name: str, dtype: Dtype, *, batch: int, steps: int, warmup: int) -> tuple[float, int]:
    """Return (seconds of all steps, peak bytes of GPU memory)."""
    import paddle

    paddle.device.cuda.empty_cache()
    paddle.device.cuda.reset_max_memory_allocated()
    step = _step(name, dtype, batch)
    for _ in range(warmup):
        step()
    paddle.device.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    paddle.device.synchronize()
    return time.perf_counter() - started, int(paddle.device.cuda.max_memory_allocated())


def _step(name: str, dtype: Dtype, batch: int) -> Callable[[], None]:
    from ocr_pipeline.config.train import OptimConfig
    from ocr_pipeline.training.optimizer import build_optimizer
    from ocr_pipeline.training.precision import Precision

    network, loss_of = _det(batch) if name.endswith("det") else _rec(batch)
    network.train()
    optimizer = build_optimizer(network, OptimConfig())
    precision = Precision(_NAMES[dtype], "measured")
    scaler = precision.scaler()

    def step() -> None:  # as training.fit takes it
        with precision.autocast():
            loss = loss_of()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()

    return step


def _det(batch: int) -> tuple[Any, Callable[[], Any]]:
    import paddle
    from paddle.nn import functional as F

    from ocr_pipeline.config.model import DetModelSpec
    from ocr_pipeline.models.build import build_network

    network = build_network(DetModelSpec(size="small"))
    images = paddle.randn([batch, 3, _DET_SIDE, _DET_SIDE])
    target = (paddle.rand([batch, 1, _DET_SIDE, _DET_SIDE]) > 0.9).astype("float32")

    def loss() -> Any:
        logits = network.predict(images).astype("float32")
        return F.binary_cross_entropy_with_logits(logits, target)

    return network, loss


def _rec(batch: int) -> tuple[Any, Callable[[], Any]]:
    import paddle
    from paddle.nn import functional as F

    from ocr_pipeline.config.model import RecModelSpec
    from ocr_pipeline.models.build import build_network

    network = build_network(RecModelSpec(size="small", classes=_REC_CLASSES))
    images = paddle.randn([batch, 3, *_REC_SIZE])
    labels = paddle.randint(1, _REC_CLASSES, [batch, _CHARACTERS], dtype="int32")
    lengths = paddle.full([batch], _CHARACTERS, dtype="int64")

    def loss() -> Any:
        logits = network.predict(images).astype("float32").transpose([1, 0, 2])  # [T, N, K]
        times = paddle.full([batch], logits.shape[0], dtype="int64")
        return F.ctc_loss(logits, labels, times, lengths, blank=0)

    return network, loss
