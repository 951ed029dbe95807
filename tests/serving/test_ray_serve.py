"""The service on Ray Serve: its settings, and a replica that is killed under load."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
import yaml

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_pages
from tests.processes import children, lives

pytest.importorskip("ray.serve", reason="ray[serve] is not installed")

from ray.serve.schema import ServeDeploySchema

from ocr_pipeline.serving.ray_serve import Replica, ReplicaFailedError, build
from tests.conftest import ExportedPair

LIMIT_S = 180
CLIENTS, REQUESTS = 8, 160


def settings(root: Path) -> Any:
    return yaml.safe_load((root / "deploy/ray/serve.yaml").read_text("utf-8"))


def test_what_the_file_says_is_known_to_ray_and_to_the_service(root: Path) -> None:
    file = ServeDeploySchema.model_validate(settings(root))
    [application] = file.applications
    config = ServeConfig.model_validate(application.args)
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    assert file.http_options.host == "127.0.0.1"
    assert file.http_options.request_timeout_s is not None
    assert file.http_options.request_timeout_s > config.timeout_s
    [deployment] = application.deployments
    assert build(config)._bound_deployment.name == deployment.name


def test_the_limits_of_a_replica_are_those_of_the_service() -> None:
    config = ServeConfig(workers=3, max_waiting=7, timeout_s=8.5)
    deployment = build(config)._bound_deployment
    assert deployment.max_ongoing_requests == deployment.max_queued_requests == 7
    assert deployment.ray_actor_options == {"num_cpus": 6, "num_gpus": 0}
    assert deployment._deployment_config.graceful_shutdown_timeout_s == 14


def test_a_replica_without_models_is_not_healthy_and_says_why(tmp_path: Path) -> None:
    replica = Replica(ServeConfig(detector=str(tmp_path / "no"), recognizer=str(tmp_path / "none")))
    service = replica.__serve_build_asgi_app__()

    async def check() -> None:
        async with service.router.lifespan_context(service), asyncio.timeout(LIMIT_S):
            with pytest.raises(ReplicaFailedError, match="/no: "):
                await replica.check_health()

    asyncio.run(check())


@dataclass
class Cluster:
    """A running ``ray_cluster.py``.

    Attributes:
        url: of Ray's proxy.
        process: that started everything.
        told: what it has printed.
    """

    url: str
    process: "subprocess.Popen[bytes]"
    told: Path

    def running(self) -> list[int]:
        """Numbers of replicas that were running, one after the other."""
        lines = self.told.read_text("utf-8").splitlines()
        return [json.loads(line)["running"] for line in lines if line.startswith("{")]

    def wait(self, done: Callable[[], bool]) -> None:
        """Poll until ``done``; fails at the limit."""
        deadline = time.monotonic() + LIMIT_S
        while not done():
            said = self.told.read_text("utf-8")
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s:\n{said}"
            assert self.process.poll() is None, f"the cluster ended:\n{said}"
            time.sleep(0.05)

    def processes(self) -> list[int]:
        """All that it has started, down to the reading processes."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found

    def replicas(self) -> list[int]:
        return [p for p in self.processes() if b"ray::ServeReplica" in command_of(p)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has just ended


@contextmanager
def cluster(root: Path, folder: Path, models: ExportedPair) -> Iterator[Cluster]:
    """What ``serve run deploy/ray/serve.yaml`` starts, with two replicas of one thread each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = settings(root)
    file["http_options"]["port"] = port
    [application] = file["applications"]
    folders = {"detector": str(models.det), "recognizer": str(models.rec)}
    application["args"] |= folders | {"engine": {"threads": 1}}
    application["deployments"][0]["autoscaling_config"]["max_replicas"] = 2
    (folder / "serve.yaml").write_text(yaml.safe_dump(file), "utf-8")
    told = folder / "told.txt"
    environment = os.environ | {"PYTHONPATH": str(root), "RAY_USAGE_STATS_ENABLED": "0"}
    # Its sockets stand in it, and their names may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray") as ray_folder, told.open("wb") as output:
        script = root / "tests/serving/ray_cluster.py"
        command = [sys.executable, str(script), str(folder / "serve.yaml"), ray_folder]
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        running = Cluster(f"http://127.0.0.1:{port}", process, told)
        started: list[int] = []
        try:
            yield running
            started = running.processes()
        finally:
            started = started or running.processes()
            process.send_signal(signal.SIGINT)
            try:
                process.wait(LIMIT_S)
            finally:
                left = [pid for pid in started if lives(pid)]
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_killed_replica_fails_only_what_it_had_and_is_replaced(
    root: Path, tmp_path: Path, exported_tiny: ExportedPair
) -> None:
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec)
    texts = [reader.read(page).text for page in golden_pages()]
    contents = [cv2.imencode(".png", page)[1].tobytes() for page in golden_pages()]
    assert texts[0] != texts[1]
    with cluster(root, tmp_path, exported_tiny) as ray, ThreadPoolExecutor(CLIENTS) as pool:
        ray.wait(lambda: ray.running()[-1:] == [2])

        def post(number: int) -> httpx.Response:
            form = {"file": ("page", contents[number % 2])}
            return httpx.post(f"{ray.url}/v1/ocr", files=form, timeout=LIMIT_S)

        sent = [pool.submit(post, number) for number in range(REQUESTS)]
        ray.wait(lambda: sum(job.done() for job in sent) >= REQUESTS // 4)
        victim = ray.replicas()[0]
        its_worker = children(victim)
        os.kill(victim, signal.SIGKILL)
        answers = [job.result() for job in sent]
        read = [number for number, answer in enumerate(answers) if answer.status_code == 200]
        assert [answers[n].json()["text"] for n in read] == [texts[n % 2] for n in read]
        failed = [answer.status_code for answer in answers if answer.status_code != 200]
        print(f"{len(failed)} of {REQUESTS} failed: {failed}")
        assert set(failed) <= {500, 503}
        # Each client had one request in work; what still waited in the proxy goes elsewhere.
        assert len(failed) <= CLIENTS
        ray.wait(lambda: ray.running()[-2:] == [1, 2])
        again = list(pool.map(post, range(16)))
        assert [answer.json()["text"] for answer in again] == texts * 8
        assert len(ray.replicas()) == 2
        assert not any(map(lives, its_worker))
