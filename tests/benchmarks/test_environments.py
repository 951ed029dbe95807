import sys
from pathlib import Path

import pytest

from ocr_pipeline.benchmarks import environments as module
from ocr_pipeline.benchmarks.environments import REQUIREMENTS, peer_python
from ocr_pipeline.errors import AssetError

LIST = "no-such-package-at-all==1 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list that nothing can be installed from; the cache is in ``cache/`` beside it."""
    monkeypatch.setenv("OCR_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "PEER_VERSION", sys.version_info[:2])
    path = tmp_path / "some-peer.txt"
    path.write_text(LIST)
    return path


def test_environment_is_made_once_for_a_list(
    requirements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def make(command: list[str], _requirements: Path) -> None:
        commands.append(command)
        if command[2] == "venv":
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "bin" / "python").touch()

    monkeypatch.setattr(module, "_run", make)
    python = peer_python(requirements)
    assert python.is_file()
    folder = python.relative_to(tmp_path / "cache" / "environments").parts[0]
    assert folder.startswith("some-peer-")
    assert [command[2] for command in commands] == ["venv", "pip"]
    assert "--require-hashes" in commands[1]
    assert commands[1][-1] == str(requirements)
    assert peer_python(requirements) == python
    assert len(commands) == 2
    requirements.write_text(LIST + "# changed\n")
    assert peer_python(requirements) != python


def test_the_slower_of_two_runs_takes_the_environment_of_the_quicker_one(
    requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = iter(["slow", "quick"])
    quick: list[Path] = []

    def make(command: list[str], _requirements: Path) -> None:
        if command[2] == "venv":
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "bin" / "python").write_text(next(makers))
        elif not quick:  # the other run comes while this one is at work
            quick.append(requirements)
            quick[0] = peer_python(requirements)

    monkeypatch.setattr(module, "_run", make)
    assert [peer_python(requirements)] == quick
    assert quick[0].read_text() == "quick"


def test_environment_that_fails_leaves_nothing(
    requirements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    message = r"of some-peer\.txt cannot be made \(.*no-such-package.*check the network"
    with pytest.raises(AssetError, match=message):
        peer_python(requirements)
    assert list((tmp_path / "cache" / "environments").iterdir()) == []


def test_environment_says_what_it_needs(
    requirements: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PEER_VERSION", (3, 6))
    with pytest.raises(AssetError, match=r"pinned for Python 3\.6, this is 3\.\d+; run"):
        peer_python(requirements)
    with pytest.raises(AssetError, match=r"absent\.txt: absent; this benchmark needs the project"):
        peer_python(tmp_path / "absent.txt")


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("peers-*.txt")), ids=lambda p: p.name)
def test_lists_of_peers_have_hashes_and_no_index(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert path.with_suffix(".in").is_file()
    assert all("--hash=sha256:" in line or "==" in line for line in lines if line.strip())
    assert not [line for line in lines if "://" in line or line.startswith("-")]
