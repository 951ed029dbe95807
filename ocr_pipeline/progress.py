"""What long work shows on a terminal; plain lines where there is none."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_EVERY = 20


@contextmanager
def counting(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for work that reports (done, total)."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class TrainingDisplay:
    """Shows a training run: a bar with loss and rate, a line per evaluation."""

    def __init__(self, console: Console, indent: str = "") -> None:
        self._console = console
        self._indent = indent
        self._bar = Progress(
            TextColumn(f"{indent}training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  lr {task.fields[lr]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, loss="-", lr="-")

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """One sentence."""
        self._console.print(f"{self._indent}{text}", highlight=False, style="dim")

    def step(self, step: int, steps: int, loss: float, lr: float) -> None:
        """Move the bar; without a terminal, a line now and then."""
        self._bar.update(
            self._task, completed=step, total=steps, loss=f"{loss:.3f}", lr=f"{lr:.1e}"
        )
        if not self._console.is_terminal and step % _PLAIN_EVERY == 0:
            self._console.print(
                f"{self._indent}step {step}/{steps}  loss {loss:.3f}  lr {lr:.1e}", highlight=False
            )

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """A line per evaluation."""
        self._console.print(
            f"{self._indent}step {step:>5}: {metrics_sentence(metrics)}",
            highlight=False,
            soft_wrap=True,
        )


def metrics_sentence(metrics: Mapping[str, float]) -> str:
    """The figures of a recognizer or a detector, percent, as a person reads them."""
    if "hmean" in metrics:
        return (
            f"hmean {metrics['hmean']:5.1f} %   (precision {metrics['precision']:5.1f} %, "
            f"recall {metrics['recall']:5.1f} %)"
        )
    text = (
        f"exact {metrics['exact']:5.1f} %   CER {metrics['cer']:5.2f} %   (normalised "
        f"{metrics['exact_normalised']:5.1f} %, {metrics['cer_normalised']:5.2f} %)"
    )
    if "replay_cer" in metrics:
        text += (
            f"   replay: exact {metrics['replay_exact']:5.1f} %, CER {metrics['replay_cer']:5.2f} %"
        )
    return text
