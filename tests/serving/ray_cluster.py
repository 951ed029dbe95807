"""A small Ray cluster of this process's own, with `serve run FILE` on it, until Ctrl-C.

    python tests/serving/ray_cluster.py FILE FOLDER

FOLDER takes Ray's sockets and logs. Each change in the number of running replicas is a line of JSON
on stdout: {"running": 2}.
"""

import json
import signal
import sys
import threading
import time

import ray
from ray import serve
from ray.serve.scripts import cli


def tell_running() -> None:
    told = 0
    while True:
        time.sleep(0.05)
        ocr = serve.status().applications.get("ocr")
        states = ocr.deployments["ocr"].replica_states if ocr and ocr.deployments else {}
        running = states.get("RUNNING", 0)
        if running != told:
            print(json.dumps({"running": running}), flush=True)
            told = running


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _temp_dir=sys.argv[2],
        namespace="serve",
    )
    threading.Thread(target=tell_running, daemon=True).start()
    try:
        cli(["run", sys.argv[1]])
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
