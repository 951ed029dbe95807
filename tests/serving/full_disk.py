"""Logs to a file system of 64 KiB that becomes full and is freed again; prints what it saw.

To be run in a namespace of its own, where it may mount:
``unshare -rm python -m tests.serving.full_disk FOLDER``.
"""

import json
import logging
import subprocess
import sys
from pathlib import Path

from ocr_pipeline.config.logs import LogConfig
from ocr_pipeline.serving.logs import configure_logs

LINES = 500


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
    filler = folder / "filler"
    filler.write_bytes(bytes(32 * 1024))
    handler = configure_logs(LogConfig(form="json", file=str(folder / "serve.log")))
    log = logging.getLogger("test")
    for number in range(LINES):
        log.info("line %d of a page", number)
    handler._lines.join()
    dropped = handler.dropped
    filler.unlink()
    log.info("there is room")
    log.info("and more")
    logging.shutdown()
    lines = (folder / "serve.log").read_text("utf-8").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    print(json.dumps({"dropped": dropped, "events": events}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
