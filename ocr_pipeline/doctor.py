"""What of this installation works, what does not, and the command that mends it.

Each check is a function from facts to a :class:`Finding`; those that need facts of this machine get
them as arguments with that default. What may end a process runs in one of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ocr_pipeline.assets import CACHE_VARIABLE, cache_dir
from ocr_pipeline.errors import AssetError, OcrPipelineError
from ocr_pipeline.fonts import FONT_VARIABLE, characters_of, find_font
from ocr_pipeline.gpu import Gpu, nvidia_gpus
from ocr_pipeline.versions import installed_versions

State = Literal["ok", "warn", "bad"]
Probe = Callable[[str], Mapping[str, Any]]
"""Name of a probe to what it found; see :mod:`ocr_pipeline.doctor_probe`."""

PADDLE = "3.2.2"
"""The version of Paddle that everything was tested with."""
_PYTHONS = ((3, 11), (3, 13))
_PACKAGES = (
    "paddlepaddle",
    "paddlepaddle-gpu",
    "numpy",
    "paddlelite",
    "openvino",
    "onnxruntime",
    "opencv-python",
)
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where the loader's processes put their batches)
_SHARED_BYTES = 512 << 20
_CACHE_BYTES, _CACHE_LEAST = 3 << 30, 256 << 20
_PROBE_TIMEOUT_S = 120.0
_CHINESE = "中文识别"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: of the check.
        state: ok; warn: works, and could be better or will not for everything; bad: mend it first.
        detail: what was found, or what is wrong; one or two sentences.
        mend: the command or the step that mends it; None where nothing is to be done.
    """

    name: str
    state: State
    detail: str
    mend: str | None = None


def examine(on_check: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Run all checks.

    Args:
        on_check: is told the name of each check before it begins.
    """
    installed = installed_versions(_PACKAGES)
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", check_python),
        ("versions", lambda: check_versions(installed)),
        ("Paddle and GPU", lambda: check_gpu(installed)),
        ("CTC step", check_ctc),
        ("oneDNN", check_onednn),
        ("OpenVINO", lambda: check_openvino(installed)),
        ("ONNX Runtime", lambda: check_onnxruntime(installed)),
        ("Paddle Lite", check_lite),
        ("shared memory", check_shared_memory),
        ("font", check_font),
        ("cache", check_cache),
    ]
    findings = []
    for name, check in checks:
        on_check(name)
        findings.append(check())
    return findings


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.state != "bad" for finding in findings)


def as_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    """Plain values for JSON."""
    return {"ok": is_well(findings), "checks": [asdict(finding) for finding in findings]}


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether this Python is one that the project runs on."""
    shown = ".".join(map(str, version))
    least, most = (".".join(map(str, limit)) for limit in _PYTHONS)
    if _PYTHONS[0] <= version <= _PYTHONS[1]:
        return Finding("Python", "ok", shown)
    return Finding(
        "Python", "bad", f"{shown}; {least} to {most} needed", f"make setup PYTHON=python{least}"
    )


def check_versions(installed: Mapping[str, str]) -> Finding:
    """Whether a pair of versions is known to go wrong, without an error most of the time."""
    found = [
        problem
        for problem in (
            _two_paddles(installed),
            _no_paddle(installed),
            _paddle_too_new(installed),
            _numpy_too_new(installed),
            _numpy_for_lite(installed),
        )
        if problem is not None
    ]
    if found:
        details, mends = zip(*found, strict=True)
        return Finding("versions", "bad", "; ".join(details), " && ".join(mends))
    if _paddle(installed) < (3,):
        return Finding(
            "versions",
            "warn",
            f"Paddle {_paddle_name(installed)[1]} prepares and trains only; exporting, reading and "
            "serving need Paddle 3.2",
            f'pip install "paddlepaddle=={PADDLE}"',
        )
    named = ("paddlepaddle", "paddlepaddle-gpu", "numpy", "opencv-python")
    told = ", ".join(f"{name} {installed[name]}" for name in named if name in installed)
    return Finding("versions", "ok", told)


def _two_paddles(installed: Mapping[str, str]) -> tuple[str, str] | None:
    if not {"paddlepaddle", "paddlepaddle-gpu"} <= installed.keys():
        return None
    return (
        "paddlepaddle and paddlepaddle-gpu are both installed, and overwrite each other's files",
        "pip uninstall --yes paddlepaddle paddlepaddle-gpu; then install one of them",
    )


def _no_paddle(installed: Mapping[str, str]) -> tuple[str, str] | None:
    if {"paddlepaddle", "paddlepaddle-gpu"} & installed.keys():
        return None
    return "Paddle is not installed", f'pip install "paddlepaddle=={PADDLE}"'


def _paddle_too_new(installed: Mapping[str, str]) -> tuple[str, str] | None:
    if _paddle(installed) < (3, 3):
        return None
    name, version = _paddle_name(installed)
    return (
        f"Paddle {version}: 3.3 fails with oneDNN on exported models "
        "(ConvertPirAttribute2RuntimeAttribute), and later ones are not tested",
        f'pip install "{name}=={PADDLE}"',
    )


def _numpy_too_new(installed: Mapping[str, str]) -> tuple[str, str] | None:
    numpy = _numbers(installed.get("numpy", ""))
    if numpy >= (2,) and (0,) < _paddle(installed) < (3,):
        return f"Paddle 2.6 is built for numpy 1, not {installed['numpy']}", 'pip install "numpy<2"'
    if numpy >= (2, 4):
        return (
            f"numpy {installed['numpy']}: Paddle's GradScaler fails on 2.4 at the first overflow",
            'pip install "numpy<2.4"',
        )
    return None


def _numpy_for_lite(installed: Mapping[str, str]) -> tuple[str, str] | None:
    if "paddlelite" not in installed or _numbers(installed.get("numpy", "")) < (2,):
        return None
    return (
        f"paddlelite beside numpy {installed['numpy']} computes garbage without any error; its "
        "toolchain has an environment of its own",
        "pip uninstall --yes paddlelite",
    )


def check_gpu(
    installed: Mapping[str, str],
    gpus: Callable[[], Sequence[Gpu] | str] = nvidia_gpus,
    probe: Probe | None = None,
) -> Finding:
    """Whether the build of Paddle is the one for this machine's GPU.

    Args:
        installed: versions.
        gpus: gives the GPUs that the driver names, or why it does not answer.
        probe: see :data:`Probe`.
    """
    name = "Paddle and GPU"
    seen = gpus()
    if isinstance(seen, str):
        return Finding(name, "warn", seen, "nvidia-smi; then install the driver that it asks for")
    has_cuda = "paddlepaddle-gpu" in installed
    if not has_cuda:
        if not seen:
            return Finding(name, "ok", "no NVIDIA GPU, and the CPU build of Paddle")
        return Finding(
            name,
            "warn",
            f"{seen[0].name} (driver {seen[0].driver}) stays idle: paddlepaddle is the CPU build",
            "pip uninstall --yes paddlepaddle; then install paddlepaddle-gpu for your CUDA, as "
            "Paddle's installation page says",
        )
    return _check_cuda_build(seen, (probe or run_probe)("paddle"))


def _check_cuda_build(seen: Sequence[Gpu], found: Mapping[str, Any]) -> Finding:
    name = "Paddle and GPU"
    other = "install the paddlepaddle-gpu wheel of another CUDA, as Paddle's installation page says"
    if fault := found.get("fault"):
        return Finding(name, "bad", f"paddlepaddle-gpu cannot be imported: {fault}", other)
    built = f"paddlepaddle-gpu {found['version']} (CUDA {found['cuda']})"
    if not seen:
        return Finding(
            name,
            "warn",
            f"{built}, and no NVIDIA GPU: it runs on the CPU",
            f'pip uninstall --yes paddlepaddle-gpu && pip install "paddlepaddle=={PADDLE}"',
        )
    archs = [str(arch) for arch in found["archs"]]
    wanted = seen[0].capability.replace(".", "")
    if archs and wanted not in archs:
        return Finding(
            name,
            "bad",
            f"{seen[0].name} has compute capability {seen[0].capability}; {built} was built for "
            f"{', '.join(archs)}: results would be blank or wrong without an error",
            other,
        )
    if not found["gpus"]:
        return Finding(name, "bad", f"{built} sees no GPU, the driver names {seen[0].name}", other)
    return Finding(name, "ok", f"{built} on {seen[0].name} (driver {seen[0].driver})")


def check_ctc(probe: Probe | None = None) -> Finding:
    """Whether one step of the CTC loss, forward and backward, gives the right numbers."""
    found = (probe or run_probe)("ctc")
    if fault := found.get("fault"):
        return Finding(
            "CTC step",
            "bad",
            f"one step of the CTC loss fails: {fault}; a recognizer cannot be trained",
            f'pip install --force-reinstall "paddlepaddle=={PADDLE}"; on a GPU, the wheel of '
            "another CUDA",
        )
    return Finding("CTC step", "ok", f"right loss and gradient on {found['device']}")


def check_onednn(probe: Probe | None = None) -> Finding:
    """Whether Paddle Inference runs a convolution with oneDNN."""
    found = (probe or run_probe)("onednn")
    if fault := found.get("fault"):
        return Finding(
            "oneDNN",
            "bad",
            f"Paddle Inference with oneDNN fails on a small convolution: {fault}",
            f'pip install "paddlepaddle=={PADDLE}", or serve with openvino (engine.variant)',
        )
    if old := found.get("old"):
        return Finding("oneDNN", "ok", f"not tried: Paddle {old} does not serve")
    return Finding("oneDNN", "ok", "a small convolution through Paddle Inference is right")


def check_openvino(installed: Mapping[str, str], probe: Probe | None = None) -> Finding:
    """Whether OpenVINO runs, and in which numbers."""
    if "openvino" not in installed:
        return Finding(
            "OpenVINO",
            "warn",
            "not installed; on a CPU it is the fastest engine",
            'pip install "ocr_pipeline[openvino]"',
        )
    found = (probe or run_probe)("openvino")
    if fault := found.get("fault"):
        return Finding(
            "OpenVINO",
            "bad",
            f"openvino {installed['openvino']} fails on a small network: {fault}",
            "pip install --force-reinstall openvino, or set engine.variant=paddle-fp32",
        )
    numbers = "bf16 and float32" if found["bf16"] else "float32; this CPU has no bf16"
    return Finding("OpenVINO", "ok", f"{installed['openvino']}, computes in {numbers}")


def check_onnxruntime(installed: Mapping[str, str], probe: Probe | None = None) -> Finding:
    """Whether ONNX Runtime runs."""
    if "onnxruntime" not in installed:
        return Finding(
            "ONNX Runtime",
            "warn",
            "not installed; models exported as onnx cannot be served by it",
            'pip install "ocr_pipeline[onnx]"',
        )
    found = (probe or run_probe)("onnxruntime")
    if fault := found.get("fault"):
        return Finding(
            "ONNX Runtime",
            "bad",
            f"onnxruntime {installed['onnxruntime']} fails on a small network: {fault}",
            "pip install --force-reinstall onnxruntime",
        )
    return Finding("ONNX Runtime", "ok", installed["onnxruntime"])


def check_lite() -> Finding:
    """Whether the toolchain that writes models for Paddle Lite is well, where it has been made.

    It is not made here: that takes minutes and 700 MB, and most do not need it.
    """
    from ocr_pipeline.inference import lite_toolchain as lite

    name = "Paddle Lite"
    named = os.environ.get(lite.PYTHON_VARIABLE)
    if named is None and not (lite.toolchain_folder() / "bin" / "python").is_file():
        told = "toolchain not made yet; export --to lite makes it, once (700 MB)"
        return Finding(name, "ok", told)
    try:
        versions = lite.check_toolchain(lite.toolchain_python())
    except AssetError as error:
        again = f"unset {lite.PYTHON_VARIABLE}" if named else f"rm -r {lite.toolchain_folder()}"
        return Finding(name, "bad", str(error), f"{again}; the next export --to lite makes it anew")
    told = ", ".join(f"{package} {version}" for package, version in versions.items())
    return Finding(name, "ok", f"toolchain with {told}")


def check_shared_memory(path: Path = _SHARED_MEMORY, least: int = _SHARED_BYTES) -> Finding:
    """Whether the processes that load training data have room for their batches.

    Args:
        path: where shared memory is mounted.
        least: bytes that a training with two processes and usual batches needs.
    """
    name = "shared memory"
    if not path.is_dir():
        return Finding(name, "ok", f"no {path} on this system")
    free = shutil.disk_usage(path).free
    told = f"{path} has {_size(free)} free"
    if free >= least:
        return Finding(name, "ok", told)
    return Finding(
        name,
        "warn",
        f"{told}; processes that load training data want {_size(least)}",
        "docker run --shm-size=2g ..., or train with loader.workers=0",
    )


def check_font() -> Finding:
    """Whether there is a font with Chinese characters to draw text with."""
    mend = f"export {FONT_VARIABLE}=/path/to/font.otf, or apt-get install fonts-noto-cjk"
    try:
        font = find_font(may_fetch=False)
        lacking = [c for c in _CHINESE if ord(c) not in characters_of(font)]
    except AssetError as error:
        return Finding("font", "warn", f"{error}; rendering fetches one", mend)
    if lacking:
        return Finding("font", "warn", f"{font} has no {' '.join(lacking)}", mend)
    return Finding("font", "ok", font.name)


def check_cache(folder: Path | None = None, free: int | None = None) -> Finding:
    """Whether the cache can be written and has room for weights and exported models.

    Args:
        folder: the cache; None: where it is.
        free: bytes; None: look.
    """
    folder = folder or cache_dir()
    stands = next(path for path in (folder, *folder.parents) if path.exists())
    mend = f"export {CACHE_VARIABLE}=/a/folder/with/room"
    if not (stands.is_dir() and os.access(stands, os.W_OK)):
        return Finding("cache", "bad", f"{folder} cannot be written", mend)
    free = shutil.disk_usage(stands).free if free is None else free
    told = f"{_size(free)} free in {_short(folder)}"
    if free < _CACHE_LEAST:
        return Finding("cache", "bad", f"{told}; the released models need more", mend)
    if free < _CACHE_BYTES:
        return Finding("cache", "warn", f"{told}; {_size(_CACHE_BYTES)} are good to have", mend)
    return Finding("cache", "ok", told)


def check_engines(source: str, threads: int) -> list[Finding]:
    """Which engine serves a model on this machine, and why the others do not.

    Args:
        source: exported model: folder or released name.
        threads: CPU threads of an engine.
    """
    from ocr_pipeline.artifacts.exported import ExportedModel
    from ocr_pipeline.config.engine import EngineConfig
    from ocr_pipeline.inference.choose import open_best
    from ocr_pipeline.stock import exported_folder

    try:
        model = ExportedModel.load(exported_folder(source))
        decision = open_best(model, EngineConfig(threads=threads)).decision
    except OcrPipelineError as error:
        mend = "python scripts/export.py CHECKPOINT FOLDER --to static,onnx,openvino"
        return [Finding(source, "bad", str(error), mend)]
    name = model.card.name
    reason = decision.reason
    told = reason if reason.startswith(decision.chosen) else f"{decision.chosen} serves: {reason}"
    findings = [Finding(name, "ok", told)]
    for candidate in decision.candidates:
        if candidate.refused is not None:
            told = f"{candidate.variant} does not serve: {candidate.refused}"
            findings.append(Finding(name, "warn", told))
    return findings


def run_probe(name: str, command: Sequence[str] | None = None) -> Mapping[str, Any]:
    """Run one probe in a process of its own.

    Returns:
        What it found; ``{"fault": why}`` where it ended without an answer.
    """
    usual = (sys.executable, "-W", "ignore", "-m", "ocr_pipeline.doctor_probe", name)
    environment = {"GLOG_minloglevel": "3", **os.environ}
    try:
        done = subprocess.run(
            list(command or usual),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"no answer within {_PROBE_TIMEOUT_S:g} s"}
    if done.returncode < 0:
        return {"fault": f"the process was ended by signal {-done.returncode}"}
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    if done.returncode:
        return {"fault": lines[-1] if lines else f"exit code {done.returncode} without a word"}
    found: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _paddle_name(installed: Mapping[str, str]) -> tuple[str, str]:
    for name in ("paddlepaddle-gpu", "paddlepaddle"):
        if name in installed:
            return name, installed[name]
    return "paddlepaddle", ""


def _paddle(installed: Mapping[str, str]) -> tuple[int, ...]:
    return _numbers(_paddle_name(installed)[1])


def _numbers(version: str) -> tuple[int, ...]:
    """Its leading numbers: 3.2.2.post1 to (3, 2, 2)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
