"""Networks to ``.nb`` files: what is refused before and during it, and (slow) what comes out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ocr_pipeline.artifacts.exported import CARD_NAME, ExportedCard
from ocr_pipeline.artifacts.folder import hash_files, write_card
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import AssetError, ExportError
from ocr_pipeline.export.lite import ARM, ARM_FP16, X86, check_operators, kernels, save_lite
from ocr_pipeline.export.lite_program import SCALAR
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.lite_engine import LiteEngine
from ocr_pipeline.inference.lite_toolchain import PYTHON_VARIABLE, command, toolchain_python
from ocr_pipeline.inference.reader import OcrReader
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.build import build_network
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.ops.resize import det_input, rec_input
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import ROOT
from tests.lite_environment import PINNED, make_environment

TABLE = """Supported OPs on ' kARM':
                                        OP_name  kARM  kHost  kUnk
                     __xpu__spatial_transformer                  Y
                                            abs     Y      Y
                                         conv2d     Y
                                           feed            Y
                                         unbind            Y
"""


def crnn() -> TrainableModel:
    paddle.seed(3)
    spec = RecModelSpec(
        family="crnn",
        size="mobile",
        classes=22,
        image=RecImageSpec(height=32, min_width=64, time_stride=4),
    )
    network = build_network(spec)
    network.eval()
    charset = Charset([chr(0x4E00 + number) for number in range(20)])
    return TrainableModel(spec, network, charset, golden_lines(), "random", sha256="")


def test_the_tools_table_is_read_by_its_columns() -> None:
    assert kernels(TABLE) == {"abs", "conv2d", "feed", "unbind"}
    assert kernels("") == set()
    assert kernels("Error: wrong target\n") == set()


def test_an_operator_without_a_kernel_is_named_with_its_target() -> None:
    tables = {"arm": TABLE, "x86": TABLE.replace("conv2d", "conv3d")}
    check_operators(["abs", "feed"], tables)
    with pytest.raises(ExportError, match=r"no kernel for conv2d \(on x86\); write the layer"):
        check_operators(["abs", "conv2d"], tables)
    with pytest.raises(
        ExportError, match=r"__xpu__spatial_transformer \(on arm\), grid_sampler \(on arm\)"
    ):
        check_operators(["grid_sampler", "__xpu__spatial_transformer"], {"arm": TABLE})


def test_operators_known_not_to_work_are_refused_though_the_table_has_them() -> None:
    with pytest.raises(ExportError, match=r"cannot run unbind: .* by indexing"):
        check_operators(["unbind", "abs"], {"arm": TABLE})
    with pytest.raises(ExportError, match=r"of no dimension\): .* a fixed batch"):
        check_operators([SCALAR], {"arm": TABLE})
    with pytest.raises(ExportError, match=r"swish: .* write it as silu"):
        check_operators(["swish"], {"arm": TABLE.replace("unbind", " swish")})


def test_a_table_that_cannot_be_read_is_no_licence() -> None:
    with pytest.raises(ExportError, match="list of operators for arm cannot be read"):
        check_operators(["conv2d"], {"arm": "something else"})


def test_a_step_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    python = make_environment(tmp_path / "without paddle")
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    with pytest.raises(
        ExportError, match=r"lite: Paddle 2\.6\.2 cannot save the network: .*named 'paddle'"
    ):
        save_lite(crnn(), out / "lite")
    assert list(out.iterdir()) == []


def test_a_toolchain_with_other_versions_or_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    python = make_environment(tmp_path / "new", {**PINNED, "numpy": "2.3.5"})
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    with pytest.raises(ExportError, match=r"lite: .*numpy is 2\.3\.5, needed is 1\.x"):
        save_lite(crnn(), out / "lite")
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ExportError, match=r"lite: .*none: no such file"):
        save_lite(crnn(), out / "lite")
    assert list(out.iterdir()) == []


# Below: the real toolchain.


@pytest.fixture(scope="module")
def toolchain() -> Path:
    """Skip where it is neither cached nor to be had."""
    try:
        return toolchain_python()
    except AssetError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_real_tables_have_what_is_needed(toolchain: Path) -> None:
    script = ROOT / "ocr_pipeline" / "export" / "lite_program.py"
    for target in ("arm", "x86"):
        line = command(toolchain, str(script), "kernels", target)
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        known = kernels(done.stdout)
        assert {"conv2d", "rnn", "gelu", "layer_norm", "silu", "feed", "fetch"} <= known
        assert "__xpu__spatial_transformer" not in known
        with pytest.raises(ExportError, match="no kernel for conv4d"):
            check_operators(["conv4d", "conv2d"], {target: done.stdout})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("ppocrv6_tiny_rec", 1e-4),
        ("ppocrv6_small_rec", 1e-4),
        ("ppocrv5_mobile_rec", 1e-5),
        ("ppocrv4_mobile_rec", 1e-5),
        ("ppocrv6_tiny_det", 1e-3),
        ("ppocrv6_small_det", 1e-3),
        ("ppocrv5_mobile_det", 1e-3),
        ("ppocrv4_mobile_det", 1e-3),
        ("crnn", 1e-5),
    ],
)
def test_the_x86_file_says_what_the_checkpoint_says(
    name: str, limit: float, tmp_path: Path, toolchain: Path, released_weights: None
) -> None:
    model = crnn() if name == "crnn" else load_released(name)
    assert save_lite(model, tmp_path / "lite", fp16=True) == [X86, ARM, ARM_FP16]
    made = {path.name for path in (tmp_path / "lite").iterdir()}
    assert made == {"x86.nb", "arm.nb", "arm_fp16.nb"}
    assert [path.name for path in tmp_path.iterdir()] == ["lite"]
    contents = {(tmp_path / "lite" / file).read_bytes() for file in made}
    assert len(contents) == 3
    reference = NetworkEngine(model.network, task=model.spec.task)
    engine = LiteEngine(tmp_path / "lite", EngineConfig())
    pictures = golden_pages() if isinstance(model.spec, DetModelSpec) else golden_lines()
    if isinstance(model.spec, DetModelSpec):
        inputs = [det_input(picture, model.spec.image) for picture in pictures]
        found = [Detector(e, model.spec).detect(pictures[0]).polygons for e in (reference, engine)]
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(theirs.points, ours.points, atol=1)
    else:
        assert model.charset is not None
        inputs = [rec_input(picture, model.spec.image)[None] for picture in pictures]
        texts = [
            [line.text for line in Recognizer(e, model.spec, model.charset, batch=3).recognize(p)]
            for e, p in ((reference, pictures), (engine, pictures[::-1]))
        ]
        assert texts[0] == texts[1][::-1]
        inputs.append(np.repeat(inputs[0], 3, axis=0))
    # Wide ones first: in one predictor a narrower one would then end the process.
    for images in sorted(inputs, key=lambda array: -array.shape[3]):
        np.testing.assert_allclose(engine.run(images), reference.run(images), atol=limit)


@pytest.mark.slow
def test_the_lstm_works_on_any_width_though_its_batch_is_fixed(
    tmp_path: Path, toolchain: Path
) -> None:
    model = crnn()
    save_lite(model, tmp_path / "lite")
    assert not (tmp_path / "lite" / "arm_fp16.nb").exists()
    engine = LiteEngine(tmp_path / "lite", EngineConfig())
    reference = NetworkEngine(model.network, task="rec")
    random = np.random.default_rng(0)
    for count, width in ((2, 512), (1, 64), (5, 128)):
        images = random.uniform(-1, 1, (count, 3, 32, width)).astype(np.float32)
        np.testing.assert_allclose(engine.run(images), reference.run(images), atol=1e-6)


CPP = ROOT / "deploy" / "lite" / "cpp"
HEADER = Path(__file__).parent / "lite_api" / "include"
OPENCV = Path("/usr/include/opencv4")


@pytest.fixture(scope="module")
def compiler() -> str:
    found = shutil.which("g++")
    if found is None or not (OPENCV / "opencv2" / "imgproc.hpp").is_file():
        pytest.skip("g++ or OpenCV's headers (libopencv-imgproc-dev) are absent")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("standard", ["c++11", "c++17"])
def test_the_example_compiles_without_a_warning(compiler: str, standard: str) -> None:
    compile_example(compiler, f"-std={standard}")


@pytest.mark.slow
def test_the_example_compiles_for_64_bit_arm(compiler: str) -> None:
    cross = shutil.which("aarch64-linux-gnu-g++")
    if cross is None:
        pytest.skip("aarch64-linux-gnu-g++ (g++-aarch64-linux-gnu) is absent")
    compile_example(cross, "-std=c++11")


def compile_example(compiler: str, standard: str) -> None:
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", standard]
    sources = sorted(map(str, CPP.glob("*.cpp")))
    assert len(sources) == 7
    paths = ["-I", str(HEADER), "-isystem", str(OPENCV)]
    done = subprocess.run([compiler, *flags, *paths, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def exported_pair(
    tmp_path_factory: pytest.TempPathFactory, toolchain: Path, released_weights: None
) -> Path:
    """Folders ``det`` and ``rec`` with what the example reads: card, character set, files."""
    folder = tmp_path_factory.mktemp("exported")
    for task in ("det", "rec"):
        model = load_released(f"ppocrv6_tiny_{task}")
        (folder / task).mkdir()
        save_lite(model, folder / task / "lite")
        if model.charset is not None:
            model.charset.save(folder / task / "charset.txt")
        card = ExportedCard(
            name=task,
            model=model.spec.deployed(),
            backends={},
            golden=[],
            checkpoint=model.sha256,
            started_from=model.started_from,
            metrics={},
            made_by={},
            files=hash_files(folder / task),
        )
        write_card(card, folder / task, CARD_NAME)
    return folder


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, compiler: str, toolchain: Path) -> Path:
    """The C++ example, built by its CMake file, linked with the library inside paddlelite.

    That library is a Python module: it needs Python's own, and stands in for a real runtime.
    """
    if shutil.which("cmake") is None:
        pytest.skip("cmake is absent")
    asked = "import sys, sysconfig as s; print(sys.prefix, s.get_config_var('LIBDIR'), sep='\\n')"
    line = [str(toolchain), "-c", f"{asked}; print(s.get_config_var('INSTSONAME'))"]
    prefix, libraries, name = subprocess.run(
        line, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    packages = next(Path(prefix).glob("lib/python3.10/site-packages/paddlelite"))
    python = Path(libraries) / name
    if not python.is_file():
        pytest.skip(f"{python} is absent: the toolchain's Python has no shared library")
    build = tmp_path_factory.mktemp("build")
    (build / "runtime" / "lib").mkdir(parents=True)
    (build / "runtime" / "include").symlink_to(HEADER)
    for link in ("libpaddle_light_api_shared.so", "liblite_pybind.so"):
        (build / "runtime" / "lib" / link).symlink_to(packages / "lite.so")
    (build / "runtime" / "lib" / "libs").symlink_to(packages / "libs")  # what it needs itself
    (build / "opencv").mkdir()
    (build / "opencv" / "OpenCVConfig.cmake").write_text(
        f"set(OpenCV_INCLUDE_DIRS {OPENCV})\nset(OpenCV_LIBS opencv_core opencv_imgproc)\n"
    )
    paths = [str(build / "runtime" / "lib"), libraries]
    settings = {
        "LITE_DIR": build / "runtime",
        "OpenCV_DIR": build / "opencv",
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_EXE_LINKER_FLAGS": f"-Wl,--no-as-needed {python} -Wl,-rpath,{':'.join(paths)}",
    }
    line = ["cmake", "-S", str(CPP), "-B", str(build / "made")]
    for step in (
        [*line, *(f"-D{key}={value}" for key, value in settings.items())],
        ["cmake", "--build", str(build / "made"), "--parallel", "2"],
    ):
        done = subprocess.run(step, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "made" / "ocr_lite"


def write_ppm(path: Path, picture: np.ndarray) -> Path:
    height, width = picture.shape[:2]
    pixels = np.ascontiguousarray(picture[:, :, ::-1]).tobytes()
    path.write_bytes(f"P6\n# of a test\n{width} {height}\n255\n".encode() + pixels)
    return path


# The same corners are cut out a little differently by OpenCV 4.6, which the example has here, and
# by Python's 5.0: pixels by up to 4 of 255, the confidence of what is read on them by up to 0.008.
# At the outlines themselves it shows less.
@pytest.mark.slow
@pytest.mark.parametrize(("margin", "apart"), [(0.0, 2e-3), (0.3, 1e-2)])
def test_the_c_example_reads_what_python_reads(
    example: Path, exported_pair: Path, tmp_path: Path, margin: float, apart: float
) -> None:
    det, rec = load_released("ppocrv6_tiny_det"), load_released("ppocrv6_tiny_rec")
    assert isinstance(det.spec, DetModelSpec)
    assert isinstance(rec.spec, RecModelSpec)
    assert rec.charset is not None
    spec = det.spec.model_copy(
        update={"decode": det.spec.decode.model_copy(update={"reading_margin": margin})}
    )
    folder = shutil.copytree(exported_pair / "det", tmp_path / "det")
    card = (folder / "exported.json").read_text()
    changed, count = re.subn(r'"reading_margin": [\d.]+', f'"reading_margin": {margin}', card)
    assert count == 1
    (folder / "exported.json").write_text(changed)
    detector = Detector(NetworkEngine(det.network, task="det"), spec, skip_blank=False)
    recognizer = Recognizer(NetworkEngine(rec.network, task="rec"), rec.spec, rec.charset, batch=1)
    for number, page in enumerate(golden_pages()):
        regions = detector.detect(page).polygons
        lines = recognizer.recognize([crop_line(page, region.to_read) for region in regions])
        expected = [
            (f"{region.to_read[0][0]:.0f},{region.to_read[0][1]:.0f}", line.text)
            for region, line in zip(regions, lines, strict=True)
            if line.text
        ]
        assert expected
        picture = write_ppm(tmp_path / f"{number}.ppm", page)
        words = [str(folder), str(exported_pair / "rec"), str(picture)]
        done = subprocess.run([str(example), *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows = [row.split("\t") for row in done.stdout.splitlines() if row.count("\t") == 2]
        assert [(corner, text) for _, corner, text in rows] == expected
        for (confidence, _, _), line in zip(rows, [x for x in lines if x.text], strict=True):
            assert float(confidence) == pytest.approx(line.confidence, abs=apart)


@pytest.mark.slow
def test_the_c_example_says_what_is_wrong(
    example: Path, exported_pair: Path, tmp_path: Path
) -> None:
    picture = write_ppm(tmp_path / "page.ppm", golden_pages()[0])
    det, rec = exported_pair / "det", exported_pair / "rec"

    def said(*words: object) -> str:
        done = subprocess.run([str(example), *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 1, done
        return done.stderr

    assert "usage: ocr_lite DETECTOR RECOGNIZER PICTURE" in said(det, rec)
    assert "the detector's folder comes first" in said(rec, det, picture)
    assert "half precision runs on armv8.2 only" in said(det, rec, picture, "--fp16")
    assert "--threads: a whole number from 1" in said(det, rec, picture, "--threads", "0")
    assert "none.ppm: not a PPM picture" in said(det, rec, tmp_path / "none.ppm")
    (tmp_path / "short.ppm").write_bytes(picture.read_bytes()[:5000])
    assert "short.ppm: ends before its last pixel" in said(det, rec, tmp_path / "short.ppm")
    old = shutil.copytree(det, tmp_path / "old")
    card = (old / "exported.json").read_text()
    (old / "exported.json").write_text(card.replace('"format": 2', '"format": 1'))
    assert "format 1; this program reads 2: export the model again" in said(old, rec, picture)
    (old / "exported.json").write_text(card[:300])
    assert "not JSON at byte" in said(old, rec, picture)
    for key, value, allowed in (
        ("multiple", "0", "whole numbers from 1 to 100000"),
        ("max_side", "-960", "whole numbers from 1 to 100000"),
        ("max_side", "1e30", "whole numbers from 1 to 100000"),
        ("min_side", "nan", "whole numbers from 1 to 100000"),
        ("unclip_ratio", "-1", "0 to 100000"),
    ):
        (old / "exported.json").write_text(re.sub(rf'"{key}": [\d.]+', f'"{key}": {value}', card))
        assert f"allowed: {allowed}" in said(old, rec, picture)
    older = re.sub(r'"reading_margin": [\d.]+,', "", card)
    assert older != card
    (old / "exported.json").write_text(older)
    done = subprocess.run([str(example), str(old), str(rec), str(picture)], capture_output=True)
    assert done.returncode == 0, done
    (old / "exported.json").write_text(card.replace('"name": "det"', r'"name": "\ud800\u0041"'))
    assert "the second half of a character expected" in said(old, rec, picture)
    (old / "exported.json").write_text(card)
    (old / "lite" / "x86.nb").unlink()
    assert "x86.nb: absent; export the model with lite" in said(old, rec, picture)
    other = shutil.copytree(rec, tmp_path / "other")
    (other / "charset.txt").write_text("一\n二\n")
    assert "charset.txt gives 4 classes, the network has 6906" in said(det, other, picture)


@pytest.mark.slow
def test_cmake_says_what_is_missing(tmp_path: Path, compiler: str) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is absent")
    line = ["cmake", "-S", str(CPP), "-B", str(tmp_path / "made"), f"-DLITE_DIR={tmp_path}"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode != 0
    assert "holds no include/paddle_api.h" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_the_python_example_reads_a_page(
    exported_pair: Path, tmp_path: Path, toolchain: Path
) -> None:
    """In this Python, with a ``paddlelite`` that asks the toolchain's."""
    package = tmp_path / "packages" / "paddlelite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "lite.py").write_text(
        "from pathlib import Path\n"
        "import numpy\n"
        "numpy.__version__ = '1.26.4'\n"
        "from ocr_pipeline.config.engine import EngineConfig\n"
        "from ocr_pipeline.inference.lite_engine import LiteEngine\n"
        "class MobileConfig:\n"
        "    def set_model_from_file(self, path): self.folder = Path(path).parent\n"
        "class create_paddle_predictor:\n"
        "    def __init__(self, config): self.engine = LiteEngine(config.folder, EngineConfig())\n"
        "    def get_version(self): return 'v2.13-rc'\n"
        "    def get_input(self, index): return self\n"
        "    def get_output(self, index): return self\n"
        "    def from_numpy(self, array): self.images = array\n"
        "    def run(self): self.result = self.engine.run(self.images)\n"
        "    def numpy(self): return self.result\n"
    )
    page = tmp_path / "page.png"
    page.write_bytes(cv2.imencode(".png", golden_pages()[0])[1].tobytes())
    script = ROOT / "deploy" / "lite" / "python" / "read_picture.py"
    words = [str(exported_pair / "det"), str(exported_pair / "rec"), str(page)]
    done = subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        text=True,
        env={
            "PATH": "/bin:/usr/bin",
            "PYTHONPATH": f"{package.parent}:{ROOT}",
            "HOME": str(Path.home()),
        },
    )
    assert done.returncode == 0, done.stderr
    det, rec = load_released("ppocrv6_tiny_det"), load_released("ppocrv6_tiny_rec")
    assert isinstance(det.spec, DetModelSpec)
    assert isinstance(rec.spec, RecModelSpec)
    assert rec.charset is not None
    reader = OcrReader(
        Detector(NetworkEngine(det.network, task="det"), det.spec),
        Recognizer(NetworkEngine(rec.network, task="rec"), rec.spec, rec.charset, batch=1),
    )
    assert done.stdout == reader.read(golden_pages()[0]).text + "\n"
