"""``make demo``: the whole pipeline, each stage by the command that a user would type."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ocr_pipeline.errors import OcrPipelineError
from ocr_pipeline.evaluation.pages import TruthLine, load_truth, score_page
from ocr_pipeline.fonts import find_font
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.ops.draw import Annotation, annotate

_STOCK_DET, _STOCK_REC = "ppocrv6_small_det", "ppocrv6_tiny_rec"
_START_TIMEOUT_S = 120
_READ_TIMEOUT_S = 60


def run_demo(root: Path, out: Path, console: Console) -> None:
    """Render, prepare, train, export, serve, read one page; show before and after.

    Args:
        root: the project's folder, with ``scripts/`` and ``configs/``.
        out: ``work/demo`` below it, where the demo's configs write; emptied first.
        console: shows all of it.

    Raises:
        OcrPipelineError: a stage failed; its own message stands above.
    """
    started = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    say = _Teller(console, root)
    console.print(
        "\n[bold]ocr_pipeline[/]: a bank's slips, printed by a worn dot-matrix printer, are read "
        "badly by stock OCR.\nFive stages make a service that reads them. Each command below can "
        "be typed as it stands.\n",
        highlight=False,
    )
    say.stage(1, "labelled pictures", "1,400 invented slip lines, one page; no picture is shipped")
    say.run("render", "--config", "configs/0_render_demo.yaml")
    say.stage(2, "prepare", "check every label and picture, no text in both parts")
    say.run("prepare", "--config", "configs/1_prepare_demo.yaml")
    say.stage(3, "train", f"fine-tune the released {_STOCK_REC}, about two minutes on 2 cores")
    say.run("train", "--config", "configs/2_train_rec_demo.yaml")
    say.stage(4, "export", "freeze both models; refused if they do not say the same as before")
    det, rec = out / "3_exported/det", out / "3_exported/rec"
    forms = ("--config", "configs/3_export.yaml")
    say.run("export", _STOCK_DET, _shown(det, root), *forms)
    say.run("export", _shown(out / "2_checkpoint", root), _shown(rec, root), *forms)
    say.stage(5, "serve", "start the service on a free port, post a slip it has never seen")
    page = out / "0_pictures/page.png"
    with _service(say, det, rec) as address:
        answer = _post(say, address, page)
    console.print(f"[green]the service's answer[/] ({answer.milliseconds['total']:.0f} ms):")
    console.print(escape(answer.text), highlight=False, style="bold")
    console.print("[dim]service stopped[/]\n")
    _show_result(say, out, page, answer)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.print(
        f"\nannotated picture: {_shown(out / 'annotated.png', root)}   table: "
        f"{_shown(out / 'before_after.md', root)}   [dim]({minutes} min {seconds} s)[/]\n"
        'next, with your own pictures: README.md, "Your own pictures"',
        highlight=False,
        soft_wrap=True,
    )
    _show_page(say, det, rec)


class _Teller:
    """Prints what is done and runs the project's own commands."""

    def __init__(self, console: Console, root: Path) -> None:
        self.console = console
        self.root = root

    def stage(self, number: int, name: str, what: str) -> None:
        self.console.print(f"[bold cyan]{number}/5 {name}[/]  {what}", highlight=False)

    def command(self, name: str, arguments: Sequence[str]) -> list[str]:
        shown = escape(" ".join(["python", f"scripts/{name}.py", *arguments]))
        self.console.print(f"[dim]$ {shown}[/]", highlight=False, soft_wrap=True)
        return [sys.executable, str(self.root / "scripts" / f"{name}.py"), *arguments]

    def run(self, name: str, *arguments: str) -> None:
        command = self.command(name, arguments)
        code = subprocess.run(command, cwd=self.root, check=False).returncode
        if code != 0:
            raise OcrPipelineError(f"the demo stops: scripts/{name}.py ended with exit code {code}")
        self.console.print()

    def ask(self, name: str, *arguments: str) -> Any:
        """Run a command with ``--json`` and return what it says."""
        command = [sys.executable, str(self.root / "scripts" / f"{name}.py"), *arguments, "--json"]
        result = subprocess.run(command, cwd=self.root, check=False, stdout=subprocess.PIPE)
        if result.returncode != 0:
            raise OcrPipelineError(f"the demo stops: scripts/{name}.py failed, see above")
        return json.loads(result.stdout)


@contextmanager
def _service(say: _Teller, det: Path, rec: Path) -> Iterator[str]:
    """The real service in a process of its own; stopped at the end, whatever happens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = [f"detector={_shown(det, say.root)}", f"recognizer={_shown(rec, say.root)}"]
    command = say.command("serve", [*folders, f"port={port}"])
    log_path = det.parent / "serve.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(command, cwd=say.root, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(server, address, log_path)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()


def _show_page(say: _Teller, det: Path, rec: Path) -> None:
    """The web page: at once to somebody who sits there, else how to get it."""
    if not (say.console.is_terminal and sys.stdin.isatty()):
        folders = f"detector={_shown(det, say.root)} recognizer={_shown(rec, say.root)}"
        say.console.print(
            f"web page: python scripts/serve.py {folders}, then [bold]http://127.0.0.1:8000/[/]",
            highlight=False,
            soft_wrap=True,
        )
        return
    with _service(say, det, rec) as address, suppress(KeyboardInterrupt):
        say.console.print(
            f"web page: [bold]{address}/[/]   Ctrl-C ends it", highlight=False, soft_wrap=True
        )
        signal.pause()


def _wait_until_ready(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    status = "no answer"
    while time.monotonic() < deadline and server.poll() is None:
        try:
            answer = httpx.get(f"{address}/readyz", timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if answer.status_code == 200:
            return
        status = answer.text
        if answer.json()["status"] == "failed":
            break
        time.sleep(0.2)
    raise OcrPipelineError(f"the service did not get ready ({status}); its log: {log}")


def _post(say: _Teller, address: str, page: Path) -> PageText:
    shown = _shown(page, say.root)
    say.console.print(f"[dim]$ curl -F file=@{shown} {address}/v1/ocr[/]", highlight=False)
    files = {"file": (page.name, page.read_bytes(), "image/png")}
    answer = httpx.post(f"{address}/v1/ocr", files=files, timeout=_READ_TIMEOUT_S)
    if answer.status_code != 200:
        raise OcrPipelineError(f"the service answered {answer.status_code}: {answer.text}")
    [values] = answer.json()["pages"]
    return _page_text(values)


def _show_result(say: _Teller, out: Path, page: Path, answer: PageText) -> None:
    truth = load_truth(page.with_suffix(".json"))
    dataset = _shown(out / "1_dataset", say.root)
    before = say.ask("evaluate", _STOCK_REC, dataset)
    after = say.ask("evaluate", _shown(out / "3_exported/rec", say.root), dataset)
    stock = _page_text(
        say.ask("read", _shown(page, say.root), "--det", _STOCK_DET, "--rec", _STOCK_REC)
    )
    _draw(page, answer, out / "annotated.png")
    rows = [
        ("held-out lines read right", f"{before['exact']:.1f} %", f"{after['exact']:.1f} %"),
        ("their character error rate", f"{before['cer']:.1f} %", f"{after['cer']:.1f} %"),
        ("the page's character error rate", _page_cer(stock, truth), _page_cer(answer, truth)),
    ]
    rows += [(target.text, _text_on(stock, target), _text_on(answer, target)) for target in truth]
    table = Table(title="before and after", title_justify="left")
    table.add_column("")
    table.add_column("stock PP-OCRv6 tiny")
    table.add_column("fine-tuned")
    for number, (name, old, new) in enumerate(rows):
        is_text = number >= 3
        table.add_row(
            escape(name),
            f"[{_colour(old == name)}]{escape(old)}[/]" if is_text else old,
            f"[{_colour(new == name)}]{escape(new)}[/]" if is_text else f"[bold]{new}[/]",
            end_section=number == 2,
        )
    say.console.print(table, highlight=False)
    lines = ["| | stock PP-OCRv6 tiny | fine-tuned |", "|---|---|---|"]
    lines += [f"| {name} | {old} | {new} |" for name, old, new in rows]
    text = "\n".join(lines) + "\n"
    (out / "before_after.md").write_text(text, encoding="utf-8")


def _colour(right: bool) -> str:
    return "green" if right else "red"


def _page_cer(page: PageText, truth: list[TruthLine]) -> str:
    score = score_page("page", page, truth)
    return f"{100 * score.edits / score.characters:.1f} %"


def _text_on(page: PageText, target: TruthLine) -> str:
    """What was read at the height of one line of the page."""
    top, bottom = target.points[:, 1].min(), target.points[:, 1].max()
    found = [line for line in page.lines if top < line.points[:, 1].mean() < bottom]
    return " ".join(line.text for line in found) or "(nothing)"


def _draw(page: Path, answer: PageText, target: Path) -> None:
    notes = [Annotation(line.points, line.text, line.confidence) for line in answer.lines]
    picture = annotate(read_image(page), notes, find_font(may_fetch=True))
    _, content = cv2.imencode(".png", picture)
    target.write_bytes(content.tobytes())


def _page_text(values: dict[str, Any]) -> PageText:
    """The service's JSON as the object that it was made from."""
    lines = [
        ReadLine(
            line["text"],
            line["confidence"],
            np.array(line["points"], dtype=np.float32),
            line["score"],
            line["row"],
            line["turned"],
        )
        for line in values["lines"]
    ]
    return PageText(
        lines, values["width"], values["height"], values["dropped"], values["milliseconds"]
    )


def _shown(path: Path, root: Path) -> str:
    """A path as the user would type it in the project's folder."""
    return os.path.relpath(path, root)
