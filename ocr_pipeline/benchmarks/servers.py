"""Servers that a benchmark starts, stops between their turns, and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import httpx
from pydantic import TypeAdapter

from ocr_pipeline.benchmarks.environments import REQUIREMENTS, peer_python
from ocr_pipeline.benchmarks.interleave import environment_with
from ocr_pipeline.benchmarks.peers import Peer, peer_models
from ocr_pipeline.benchmarks.server_apis import OURS, PADDLEX, RAPIDOCR, Api
from ocr_pipeline.config.base import load_config
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import TrainingError
from ocr_pipeline.processes import end_with_parent
from ocr_pipeline.stock import exported_folder

_START_TIMEOUT_S = 300.0
_END_TIMEOUT_S = 20.0
_POLL_S = 0.1
_DAY_S = 86400
_HOST = "127.0.0.1"


class Server:
    """A server with its processes, in a group of their own. A context manager: they end with it.

    Args:
        name: in tables and messages.
        api: how it is asked.
        command: that starts it.
        port: where the command tells it to listen, on 127.0.0.1.
        environment: what is added to ours; an empty value takes a variable away.

    Attributes:
        start_s: from starting the process until it could be asked, s.

    Raises:
        TrainingError: it ended, or could not be asked in time; with the end of what it said.
    """

    def __init__(
        self,
        name: str,
        api: Api,
        command: Sequence[str],
        *,
        port: int,
        environment: Mapping[str, str],
    ) -> None:
        self.name, self.api = name, api
        self.url = f"http://{_HOST}:{port}"
        self.start_s = 0.0
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env=environment_with(environment),
            process_group=0,
            preexec_fn=end_with_parent,
        )

    @property
    def group(self) -> int:
        """Number of the group of its processes."""
        return self._process.pid

    def __enter__(self) -> Self:
        started = time.perf_counter()
        try:
            # Without the proxy of the environment, which does not know this machine's addresses.
            with httpx.Client(timeout=5.0, trust_env=False) as http:
                while not self._answers(http):
                    self.check()
                    if time.perf_counter() - started > _START_TIMEOUT_S:
                        raise TrainingError(
                            f"server {self.name!r}: not ready within {_START_TIMEOUT_S:g} s "
                            f"({self._last_line()})"
                        )
                    time.sleep(_POLL_S)
        except BaseException:
            self.__exit__()
            raise
        self.start_s = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.terminate()
            self.go_on()  # a stopped process hears of nothing
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_TIMEOUT_S)
        finally:  # a second Ctrl-C ends the waiting alone
            self._signal(signal.SIGKILL)  # what its first process left behind, too
            self._process.wait()
            self._said.close()

    def pause(self) -> None:
        """Stop its processes: they use no CPU until :meth:`go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let its processes run again."""
        self._signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise an error if its first process has ended."""
        code = self._process.poll()
        if code is not None:
            raise TrainingError(
                f"server {self.name!r}: its process ended with exit code {code} "
                f"({self._last_line()})"
            )

    def _answers(self, http: httpx.Client) -> bool:
        try:
            return http.get(self.url + self.api.ready).status_code == 200
        except httpx.HTTPError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(self.group, number)

    def _last_line(self) -> str:
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - 2000))
        lines = self._said.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else "and said nothing"


def our_server(settings: Sequence[str], *, threads: int) -> Server:
    """Start the service of this project; its workers may be silent, since they are stopped.

    ``OCR_SERVE__`` variables of ours do not reach it: it has these settings alone.

    Args:
        settings: ``KEY=VALUE`` of :class:`~ocr_pipeline.config.serve.ServeConfig`.
        threads: of its engine, where the settings do not say.

    Raises:
        ConfigError: a setting that is not allowed.
        ArtifactError, AssetError, ExportError: a model cannot be had.
    """
    port = _free_port()
    config: ServeConfig = load_config(TypeAdapter(ServeConfig), None, settings)
    for model in (config.detector, config.recognizer):
        exported_folder(model)  # or it would be made in the server, and count as its memory
    given = (f"engine.threads={threads}", f"silence_s={_DAY_S}", *settings)
    fixed = (*given, f"host={_HOST}", f"port={port}")
    command = [sys.executable, "-m", "ocr_pipeline", "serve", *fixed]
    without = {name: "" for name in os.environ if name.upper().startswith("OCR_SERVE__")}
    return Server("ours", OURS, command, port=port, environment=without)


def peer_server(peer: Peer, scratch: Path, *, threads: int, without: Mapping[str, str]) -> Server:
    """Start another server, in an environment of its own, on the released v6 small networks.

    Args:
        peer: one of :data:`~ocr_pipeline.benchmarks.peers.SERVER_PEERS`.
        scratch: folder for what it is configured with.
        threads: of its engine.
        without: variables that ours sets for itself.

    Raises:
        AssetError: its environment or a released file cannot be had.
    """
    python, models, port = str(peer_python(peer.list_path)), peer_models("small"), _free_port()
    plain = {**dict.fromkeys(without, ""), "PYTHONPATH": "", "OMP_NUM_THREADS": str(threads)}
    if peer.name == "paddlex":
        pipeline = scratch / "paddlex.yaml"
        pipeline.write_text(json.dumps(paddlex_pipeline(models, threads)), encoding="utf-8")
        command = [python, "-m", "paddlex", "--serve", "--pipeline", str(pipeline)]
        command += ["--host", _HOST, "--port", str(port), "--device", "cpu"]
        plain |= {
            "PADDLE_PDX_CACHE_HOME": str(scratch / "paddlex"),
            "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",  # the models are here
        }
        return Server(peer.name, PADDLEX, command, port=port, environment=plain)
    values = {"host": _HOST, "port": port, "threads": threads}
    values["openvino"] = peer.name.endswith("-openvino")
    module = "ocr_pipeline.benchmarks.peer_server_worker"
    command = [python, "-m", module, json.dumps(values)]
    plain["PYTHONPATH"] = str(REQUIREMENTS.parent)
    return Server(peer.name, RAPIDOCR, command, port=port, environment=plain)


def paddlex_pipeline(models: Mapping[str, str], threads: int) -> dict[str, object]:
    """PaddleX's configuration of text reading, with its own values but for models and threads.

    Args:
        models: from :func:`~ocr_pipeline.benchmarks.peers.peer_models`.
        threads: of each ONNX Runtime session.
    """
    detection = {
        "module_name": "text_detection",
        "model_name": "PP-OCRv6_small_det",
        "model_dir": models["det_folder"],
        "limit_side_len": 64,
        "limit_type": "min",
        "max_side_limit": 4000,
        "thresh": 0.3,
        "box_thresh": 0.6,
        "unclip_ratio": 1.5,
    }
    recognition = {
        "module_name": "text_recognition",
        "model_name": "PP-OCRv6_small_rec",
        "model_dir": models["rec_folder"],
        "batch_size": 6,
        "score_thresh": 0.0,
    }
    return {
        "pipeline_name": "OCR",
        "text_type": "general",
        "use_doc_preprocessor": False,
        "use_textline_orientation": False,
        "engine": "onnxruntime",
        "engine_config": {"intra_op_num_threads": threads, "inter_op_num_threads": 1},
        "Serving": {"visualize": False},
        "SubModules": {"TextDetection": detection, "TextRecognition": recognition},
    }


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that servers started in it end as well."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
