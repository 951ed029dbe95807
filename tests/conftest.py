"""What several tests stand on: released weights, models exported once, pictures of the project."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocr_pipeline.errors import AssetError
from ocr_pipeline.paddle_environment import keep_freed_memory, set_paddle_environment

# As the command line does, before Paddle is imported.
os.environ.setdefault("GLOG_minloglevel", "2")
set_paddle_environment()
keep_freed_memory()

# A shell's background job is started with Ctrl-C ignored, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from ocr_pipeline.stock import exported_folder  # noqa: E402
from ocr_pipeline.weights.catalog import RELEASED_NAMES, released_file  # noqa: E402

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@dataclass(frozen=True)
class ExportedPair:
    """Folders of the exported stock PP-OCRv6 tiny models."""

    det: Path
    rec: Path


class Silent:
    """A progress of training that shows nothing."""

    def note(self, text: str) -> None: ...

    def step(self, step: int, steps: int, loss: float, lr: float) -> None: ...

    def evaluated(self, step: int, metrics: object) -> None: ...


_in_a_fork: list[Callable[[], None]] = []
os.register_at_fork(after_in_parent=lambda: [act() for act in _in_a_fork])


@pytest.fixture
def in_a_fork() -> Iterator[list[Callable[[], None]]]:
    """What is put in is called after a fork in this process, where Python drops all errors."""
    yield _in_a_fork
    _in_a_fork.clear()


@pytest.fixture(scope="session")
def released_weights() -> None:
    """Skip where the released weights are neither cached nor to be had."""
    try:
        for name in RELEASED_NAMES:
            released_file(name)
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def exported_tiny(released_weights: None) -> ExportedPair:
    return ExportedPair(exported_folder("ppocrv6_tiny_det"), exported_folder("ppocrv6_tiny_rec"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_pages() -> list[Path]:
    """Rendered pages with their text; they stand beside the project, not in it."""
    pages = sorted(p for p in (SHARED / "pages").glob("*") if p.suffix in (".png", ".jpg"))
    if not pages:
        pytest.skip(f"{SHARED / 'pages'} is absent")
    return pages
