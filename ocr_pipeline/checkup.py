"""Is this model what it says, and does our network say the same? Against the file's own runtime."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.evaluation.pages import load_truth
from ocr_pipeline.models.build import build_network, evaluation_network, parameter_count
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.models.layers import fold
from ocr_pipeline.ops.ctc import decode_greedy
from ocr_pipeline.ops.db_decode import decode_polygons
from ocr_pipeline.ops.decode import BGRImage, read_image
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.resize import det_input, rec_input
from ocr_pipeline.preprocess.slips import slip_line
from ocr_pipeline.weights.catalog import released_file
from ocr_pipeline.weights.inference_folder import name_of
from ocr_pipeline.weights.readers import find_model, read_records
from ocr_pipeline.weights.source import load_trainable, resolve
from ocr_pipeline.weights.tensors import get_weights, set_weights, without_training_parts
from ocr_pipeline.weights.trainable import TrainableModel

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_DET_SIDE = 960
_ONEDNN = "FLAGS_use_mkldnn"
_INK, _PAPER = (20, 20, 20), (250, 250, 250)
_LINES_A_DRAW = 4
_POINT_TOLERANCE = 1.0


@dataclass(frozen=True)
class Difference:
    """Largest differences of a probability over some pictures.

    Attributes:
        reference: the runtime that the released file was run with.
        apart: between our folded network and the reference.
        ours, theirs: of each from our network in float64; None where that was not computed.
        same: texts (recognizer), or boxes within 1 px (detector), are equal on every picture.
        pictures: how many.
    """

    reference: str
    apart: float
    ours: float | None
    theirs: float | None
    same: bool
    pictures: int


@dataclass(frozen=True)
class ModelReport:
    """What a model is.

    Attributes:
        source: as the user named it.
        network: family, size and task, e.g. ``ppocrv5_mobile_rec``.
        file: the released graph; None for a checkpoint.
        records: weight-carrying layers in that file.
        parameters: values in the deploy form.
        trained: values in the multi-branch form; the same where the network has only one form.
        classes: of a recognizer, blank and space included.
        difference: to the file's own runtime on drawn pictures; None where there is none.
    """

    source: str
    network: str
    file: Path | None
    records: int
    parameters: int
    trained: int
    classes: int | None
    difference: Difference | None


def check_model(source: str) -> ModelReport:
    """Load a model and compare it with its own file on a few drawn pictures.

    Args:
        source: as for :func:`~ocr_pipeline.weights.source.load_trainable`.

    Raises:
        WeightsError: it does not load; or as that function.
    """
    model = load_trainable(source)
    folded = deploy_network(model)
    kind, place = resolve(source)
    file: Path | None = None
    if kind == "released":
        file = released_file(place)
    elif kind == "inference":
        file = find_model(Path(place))
    run = None if file is None else reference_runtime(file)
    inputs = [network_input(model.spec, picture) for picture in model.golden]
    spec = model.spec
    form = {"form": "multi_branch"} if spec.family != "crnn" else {}
    return ModelReport(
        source=source,
        network=name_of(spec),
        file=file,
        records=0 if file is None else len(read_records(file)),
        parameters=parameter_count(folded),
        trained=parameter_count(build_network(spec.deployed().model_copy(update=form))),
        classes=spec.classes if isinstance(spec, RecModelSpec) else None,
        difference=None if run is None else compare(model, run, inputs, exact=True),
    )


def compare(
    model: TrainableModel,
    reference: tuple[str, Run],
    inputs: Sequence[NDArray[np.float32]],
    *,
    exact: bool,
    on_progress: Callable[[int, int], None] | None = None,
) -> Difference:
    """Run our folded network and the reference on the same inputs.

    Args:
        model: either task.
        reference: name of the runtime, and its function from images to probabilities.
        inputs: each ``[1, 3, H, W]`` float32, normalised.
        exact: also compare both with our network in float64 (slow on large pictures).
        on_progress: called with (done, total).
    """
    name, run = reference
    ours = NetworkEngine(deploy_network(model), task=model.spec.task)
    double = _float64(model) if exact else None
    apart = our_error = their_error = 0.0
    same = True
    for number, images in enumerate(inputs, start=1):
        found, expected = ours.run(images), run(images)
        apart = max(apart, float(np.abs(found - expected).max()))
        same = same and _same_result(model, found, expected, images)
        if double is not None:
            truth = double(images)
            our_error = max(our_error, float(np.abs(found - truth).max()))
            their_error = max(their_error, float(np.abs(expected - truth).max()))
        if on_progress is not None:
            on_progress(number, len(inputs))
    return Difference(
        reference=name,
        apart=apart,
        ours=our_error if exact else None,
        theirs=their_error if exact else None,
        same=same,
        pictures=len(inputs),
    )


def drawn_text(
    spec: DetModelSpec | RecModelSpec, font: Path, seed: int
) -> list[NDArray[np.float32]]:
    """Four lines of bank-slip text, clean, 48 x 320 px; for a detector on one page of 480 x 640."""
    random = np.random.default_rng(seed)
    lines = [_draw_line(slip_line(random), font) for _ in range(_LINES_A_DRAW)]
    if isinstance(spec, RecModelSpec):
        return [network_input(spec, line) for line in lines]
    page = np.full((480, 640, 3), _PAPER, np.uint8)
    for number, line in enumerate(lines):
        page[36 + 112 * number : 84 + 112 * number, 160:480] = line
    return [network_input(spec, page)]


def _draw_line(text: str, font: Path) -> BGRImage:
    picture = Image.new("RGB", (320, 48), _PAPER)
    size = 34
    while size > 8 and ImageFont.truetype(str(font), size).getlength(text) > 308:
        size -= 1
    style = ImageFont.truetype(str(font), size)
    ImageDraw.Draw(picture).text((6, 24), text, font=style, fill=_INK, anchor="lm")
    return np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])


def page_inputs(
    spec: DetModelSpec | RecModelSpec, pages: Sequence[Path]
) -> list[NDArray[np.float32]]:
    """Inputs from labelled pages: each line (recognizer), or each page at 960 px (detector).

    960 px is the released detectors' own stand-alone size.
    """
    inputs = []
    for path in pages:
        image = read_image(path)
        if isinstance(spec, DetModelSpec):
            smaller = spec.image.model_copy(update={"max_side": _DET_SIDE})
            inputs.append(det_input(image, smaller))
        else:
            truth = load_truth(path.with_suffix(".json"))
            inputs += [network_input(spec, crop_line(image, line.points)) for line in truth]
    return inputs


def network_input(spec: DetModelSpec | RecModelSpec, picture: BGRImage) -> NDArray[np.float32]:
    """One picture as ``[1, 3, H, W]`` float32."""
    if isinstance(spec, DetModelSpec):
        return det_input(picture, spec.image)
    return rec_input(picture, spec.image)[None]


def deploy_network(model: TrainableModel) -> paddle.nn.Layer:
    """A folded copy of the model's network; the model stays as it is."""
    network = build_network(model.spec.deployed())
    weights = without_training_parts(get_weights(model.network), network)
    set_weights(network, weights, source=model.started_from)
    network.eval()
    fold(network)
    return network


def reference_runtime(file: Path) -> tuple[str, Run] | None:
    """The runtime that a released file was made for; None where it is not installed."""
    if file.suffix.lower() != ".onnx":
        return "Paddle Inference", _paddle_runtime(file)
    if find_spec("onnxruntime") is None:
        return None
    return "ONNX Runtime", _onnx_runtime(file)


def _onnx_runtime(file: Path) -> Run:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = (kind for kind in vars(state).values() if isinstance(kind, type))
    faults: tuple[type[Exception], ...] = (RuntimeError,)
    faults += tuple(kind for kind in kinds if issubclass(kind, Exception))
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except faults as error:
        raise WeightsError(f"{file}: ONNX Runtime cannot load it: {error}") from None
    name = session.get_inputs()[0].name

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return np.asarray(session.run(None, {name: images})[0])
        except faults as error:
            raise WeightsError(
                f"{file}: ONNX Runtime cannot run it on {images.shape} (a fixed input shape?): "
                f"{error}"
            ) from None

    return run


def _paddle_runtime(file: Path) -> Run:
    """Plain kernels, no oneDNN: the nearest that the runtime has to what the file says."""
    from paddle import inference

    settings = inference.Config(str(file), str(file.with_suffix(".pdiparams")))
    settings.disable_glog_info()
    settings.disable_gpu()
    settings.disable_mkldnn()
    try:
        with _plain_kernels():
            predictor = inference.create_predictor(settings)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{file}: Paddle Inference cannot load it: {reason}") from None
    entry = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        entry.reshape(images.shape)
        entry.copy_from_cpu(images)
        with _plain_kernels():
            predictor.run()
        return np.asarray(result.copy_to_cpu())

    return run


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without the flag that training sets: it would bring oneDNN in, which fails on detectors."""
    before = paddle.get_flags([_ONEDNN])
    paddle.set_flags({_ONEDNN: False})
    try:
        yield
    finally:
        paddle.set_flags(before)


def _float64(model: TrainableModel) -> Run:
    network = build_network(model.spec.deployed())
    weights = without_training_parts(get_weights(model.network), network)
    set_weights(network, weights, source=model.started_from)
    network.to(dtype="float64")
    wrapped = evaluation_network(network, task=model.spec.task)

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with paddle.no_grad():
            return np.asarray(wrapped(paddle.to_tensor(images.astype("float64"))).numpy())

    return run


def _same_result(
    model: TrainableModel,
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
    images: NDArray[np.float32],
) -> bool:
    if isinstance(model.spec, RecModelSpec):
        assert model.charset is not None  # noqa: S101  (a recognizer has one)
        ours, theirs = decode_greedy(found, model.charset), decode_greedy(expected, model.charset)
        return [line.text for line in ours] == [line.text for line in theirs]
    size = (images.shape[2], images.shape[3])
    rule = model.spec.decode
    boxes = [
        decode_polygons(np.clip(maps[0, 0], 0, 1), source_size=size, spec=rule).polygons
        for maps in (found, expected)
    ]
    return len(boxes[0]) == len(boxes[1]) and all(
        np.abs(a.points - b.points).max() <= _POINT_TOLERANCE for a, b in zip(*boxes, strict=True)
    )
