"""Servers that a benchmark starts: ready, stopped between turns, ended with all they started."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from ocr_pipeline.benchmarks import servers as module
from ocr_pipeline.benchmarks.groups import cpu_seconds, memory
from ocr_pipeline.benchmarks.peer_server_worker import settings
from ocr_pipeline.benchmarks.peers import SERVER_PEERS
from ocr_pipeline.benchmarks.server_apis import OURS, PADDLEX, RAPIDOCR, Api
from ocr_pipeline.benchmarks.servers import (
    Server,
    ended_by_sigterm,
    our_server,
    paddlex_pipeline,
    peer_server,
)
from ocr_pipeline.errors import ConfigError, TrainingError
from tests.processes import children, ends, lives, stops

CORNERS = [[0, 0], [9, 0], [9, 5], [0, 5]]
SCRIPT = """
import http.server, signal, subprocess, sys
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
if sys.argv[2] == "child":
    subprocess.Popen([sys.executable, "-c", child])
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


IMPATIENT = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGINT))
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""
ALONE = """
import sys, time
from ocr_pipeline.benchmarks.server_apis import RAPIDOCR
from ocr_pipeline.benchmarks.servers import Server
port, script = sys.argv[1:]
command = [sys.executable, "-c", script, port, "none"]
with Server("some", RAPIDOCR, command, port=int(port), environment={}) as server:
    print(server.group, flush=True)
    time.sleep(600)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server(script: str, *arguments: str, api: Api = RAPIDOCR) -> Server:
    port = free_port()
    command = [sys.executable, "-c", script, str(port), *arguments]
    return Server("some", api, command, port=port, environment={})


def test_server_answers_stands_still_and_ends_with_what_it_started() -> None:
    with server(SCRIPT, "child") as running:
        assert running.start_s > 0
        assert httpx.get(running.url + "/").status_code == 200
        [child] = children(running.group)
        held = memory(running.group)
        assert 0 < held.now <= held.peak
        assert cpu_seconds(running.group) > 0
        running.pause()
        assert stops(running.group)
        assert stops(child)
        with pytest.raises(httpx.TimeoutException):
            httpx.get(running.url + "/", timeout=0.3)
        assert stops(running.group)
        running.go_on()
        assert httpx.get(running.url + "/").status_code == 200
        running.pause()  # and is ended where it stands
    assert not lives(running.group)
    assert ends(child)


def test_server_that_cannot_start_says_its_last_words() -> None:
    message = r"server 'some': its process ended with exit code 1 \(no weights at all\)"
    with pytest.raises(TrainingError, match=message), server("exit('no weights at all')"):
        pass


def test_server_that_is_never_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_TIMEOUT_S", 0.5)
    never = server(SCRIPT, "none", api=PADDLEX)  # has no /health
    with pytest.raises(TrainingError, match=r"server 'some': not ready within 0\.5 s"), never:
        pass
    assert not lives(never.group)


def test_sigterm_ends_the_servers_of_a_run() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), ended_by_sigterm(), server(SCRIPT, "none") as running:
        os.kill(os.getpid(), signal.SIGTERM)
    assert not lives(running.group)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_while_a_server_is_ended_ends_it_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), server(IMPATIENT) as running:
        pass
    assert not lives(running.group)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends it with its parent")
def test_server_ends_with_a_run_that_is_killed() -> None:
    command = [sys.executable, "-c", ALONE, str(free_port()), SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        group = int(run.stdout.readline())
        run.kill()
    assert ends(group)


def test_group_that_has_ended_uses_nothing() -> None:
    with server(SCRIPT, "none") as running:
        pass
    assert cpu_seconds(running.group) == 0
    assert memory(running.group) == (0, 0)


def test_cpu_time_of_processes_that_have_ended_stays_their_groups() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True); "
        "print('done', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, burn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        assert children(process.pid) == []
        assert cpu_seconds(process.pid) > 0.4  # told in hundredths, rounded down
        process.communicate()


def test_settings_of_our_service_are_checked_before_it_is_started() -> None:
    with pytest.raises(ConfigError, match="treads: unknown key"):
        our_server(["engine.treads=2"], threads=2)


def test_our_service_has_no_settings_but_those_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said.json"
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        f"json.dump(dict(os.environ), open({str(said)!r}, 'w'))\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(python))
    monkeypatch.setattr(module, "exported_folder", Path)
    monkeypatch.setenv("OCR_SERVE__MAX_WAITING", "1")
    monkeypatch.setenv("OF_ANOTHER", "1")
    with pytest.raises(TrainingError, match="ended with exit code 0"), our_server([], threads=2):
        pass
    environment = json.loads(said.read_text())
    assert "OCR_SERVE__MAX_WAITING" not in environment
    assert environment["OF_ANOTHER"] == "1"


@pytest.mark.parametrize("name", SERVER_PEERS)
def test_servers_of_others_are_told_threads_and_models(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS_ALONE", "1")
    monkeypatch.setattr(module, "peer_python", lambda path: tmp_path / "python")
    models = {"det_folder": "/det", "rec_folder": "/rec"}
    monkeypatch.setattr(module, "peer_models", lambda size: models)
    said = tmp_path / "said.json"
    (tmp_path / "python").write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump([sys.argv, dict(os.environ)], open({str(said)!r}, 'w'))\n"
    )
    (tmp_path / "python").chmod(0o755)
    peer = SERVER_PEERS[name]
    with (
        pytest.raises(TrainingError, match=f"server '{name}': its process ended with exit code 0"),
        peer_server(peer, tmp_path, threads=3, without={"OURS_ALONE": "1"}),
    ):
        pass
    words, environment = json.loads(said.read_text())
    assert "OURS_ALONE" not in environment
    assert environment["OMP_NUM_THREADS"] == "3"
    if name == "paddlex":
        assert words[1:4] == ["-m", "paddlex", "--serve"]
        told = json.loads(Path(words[words.index("--pipeline") + 1]).read_text())
        assert told == paddlex_pipeline(models, 3)
    else:
        values = json.loads(words[-1])
        assert values["threads"] == 3
        assert values["openvino"] is name.endswith("openvino")


def test_paddlex_is_configured_for_the_small_networks_and_no_others() -> None:
    told = paddlex_pipeline({"det_folder": "/det", "rec_folder": "/rec"}, 2)
    assert told["engine"] == "onnxruntime"
    assert told["engine_config"] == {"intra_op_num_threads": 2, "inter_op_num_threads": 1}
    assert told["Serving"] == {"visualize": False}
    assert not told["use_doc_preprocessor"]
    assert not told["use_textline_orientation"]
    modules = told["SubModules"]
    assert isinstance(modules, dict)
    names = {name: (m["model_name"], m["model_dir"]) for name, m in modules.items()}
    assert names == {
        "TextDetection": ("PP-OCRv6_small_det", "/det"),
        "TextRecognition": ("PP-OCRv6_small_rec", "/rec"),
    }


def test_rapidocr_is_given_its_engine_and_threads() -> None:
    package = SimpleNamespace(EngineType=SimpleNamespace(OPENVINO="ov", ONNXRUNTIME="ort"))
    told = settings(package, {"threads": 2, "openvino": False})
    assert (told["Det.engine_type"], told["Rec.engine_type"]) == ("ort", "ort")
    assert told["EngineConfig.onnxruntime.intra_op_num_threads"] == 2
    told = settings(package, {"threads": 2, "openvino": True})
    assert (told["Det.engine_type"], told["Rec.engine_type"]) == ("ov", "ov")
    assert told["EngineConfig.openvino.inference_num_threads"] == 2


def test_answers_of_all_servers_give_the_same_lines() -> None:
    lines = [{"text": "页", "points": CORNERS, "confidence": 0.9}]
    ours = OURS.lines({"text": "页", "pages": [{"page": 1, "lines": lines}]})
    found = {"rec_texts": ["页"], "rec_polys": [CORNERS], "rec_scores": [0.9]}
    paddlex = PADDLEX.lines({"result": {"ocrResults": [{"prunedResult": found}]}})
    rapidocr = RAPIDOCR.lines({"0": {"rec_txt": "页", "dt_boxes": CORNERS, "score": 0.9}})
    assert ours == paddlex == rapidocr == [(CORNERS, "页")]
    assert RAPIDOCR.lines({}) == []  # nothing found
    nothing = {"rec_texts": [], "rec_polys": []}
    assert PADDLEX.lines({"result": {"ocrResults": [{"prunedResult": nothing}]}}) == []


def test_pictures_are_sent_as_each_server_wants_them() -> None:
    picture = b"\x00picture\xff"
    told = json.loads(PADDLEX.body(picture).content)
    assert base64.b64decode(told["file"]) == picture
    assert told["fileType"] == 1
    for api, field in ((OURS, b'name="file"'), (RAPIDOCR, b'name="image_file"')):
        body = api.body(picture)
        assert body.media_type.startswith("multipart/form-data; boundary=")
        assert picture in body.content
        assert field in body.content
    assert b'name="use_cls"\r\n\r\nfalse' in RAPIDOCR.body(picture).content
