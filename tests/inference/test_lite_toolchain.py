"""Which Python 3.10 is taken, how its environment is made, and that other versions are refused."""

import os
import re
import sys
from pathlib import Path

import pytest

from ocr_pipeline.assets import CACHE_VARIABLE
from ocr_pipeline.errors import AssetError
from ocr_pipeline.inference import lite_start, lite_toolchain
from ocr_pipeline.inference.lite_toolchain import (
    PYTHON_VARIABLE,
    REQUIREMENTS,
    check_toolchain,
    find_python,
    toolchain_folder,
    toolchain_python,
)
from tests.lite_environment import PINNED, make_environment


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: str) -> Path:
    return script(path, f"#!/bin/sh\necho {version}\n")


def uv_that(tmp_path: Path, does: str) -> None:
    """Put a ``uv`` on PATH: a Python script that has ``words``, its arguments."""
    text = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path.cwd())!r})\n"
    script(tmp_path / "bin" / "uv", f"{text}words = sys.argv[1:]\n{does}")


@pytest.fixture
def only_these_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """PATH is a folder of the test, pyenv has nothing, no uv is installed as a package."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(lite_toolchain.importlib.util, "find_spec", lambda name: None)
    fake_python(tmp_path / "bin" / "python3.10", "3.9")  # it answers, and is another version
    return tmp_path


def test_the_versions_that_are_pinned_are_named(tmp_path: Path) -> None:
    assert check_toolchain(make_environment(tmp_path / "good")) == PINNED


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"numpy": "2.1.0"}, r"numpy is 2\.1\.0, needed is 1\.x: with 2 Lite computes garbage"),
        ({"paddlelite": "2.12"}, r"paddlelite is 2\.12, needed is 2\.13rc0"),
        ({"paddlepaddle": "3.2.2"}, r"paddlepaddle is 3\.2\.2, needed is 2\.6\.2"),
    ],
)
def test_another_version_is_refused_by_name(
    changed: dict[str, str], said: str, tmp_path: Path
) -> None:
    python = make_environment(tmp_path / "bad", {**PINNED, **changed})
    with pytest.raises(AssetError, match=said) as caught:
        check_toolchain(python)
    assert str(tmp_path / "bad") in str(caught.value)
    assert "have it made again" in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "bare", {"numpy": "2.3.5"})
    with pytest.raises(AssetError, match="paddlelite is absent.*paddlepaddle is absent.*numpy is"):
        check_toolchain(python)


def test_a_numpy_of_ten_is_no_numpy_of_one() -> None:
    assert lite_start.faults({**PINNED, "numpy": "1.26.4"}) == []
    assert len(lite_start.faults({**PINNED, "numpy": "10.0"})) == 1


def test_an_interpreter_named_by_hand_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = make_environment(tmp_path / "by hand")
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    assert toolchain_python() == python
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(AssetError, match=rf"{PYTHON_VARIABLE}=.*none: no such file; name the"):
        toolchain_python()


def test_outside_the_source_tree_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lite_toolchain, "REQUIREMENTS", tmp_path / "requirements.txt")
    with pytest.raises(AssetError, match=rf"requirements\.txt: absent; .*{PYTHON_VARIABLE}"):
        toolchain_python()


def test_the_newest_python_of_pyenv_is_found(only_these_programs: Path) -> None:
    versions = only_these_programs / "pyenv" / "versions"
    for number in ("3.10.2", "3.10.13", "3.10.9", "3.11.7"):
        fake_python(versions / number / "bin" / "python3.10", "3.10")
    assert find_python() == versions / "3.10.13" / "bin" / "python3.10"
    on_path = fake_python(only_these_programs / "bin" / "python3.10", "3.10")
    assert find_python() == on_path


def test_without_a_python_and_without_uv_it_says_what_to_install(
    only_these_programs: Path,
) -> None:
    assert find_python() is None
    with pytest.raises(AssetError, match=r"needs Python 3\.10, .*pip install uv"):
        toolchain_python()


def test_uv_makes_the_environment_once(only_these_programs: Path, own_cache: Path) -> None:
    calls = only_these_programs / "calls"
    uv_that(
        only_these_programs,
        f"open({str(calls)!r}, 'a').write(' '.join(words[:2]) + '\\n')\n"
        "if words[0] == 'venv':\n"
        "    assert words[words.index('--python') + 1] == '3.10', words\n"
        "    from pathlib import Path\n"
        "    from tests.lite_environment import make_environment\n"
        "    make_environment(Path(words[-1]))\n"
        "else:\n"
        "    assert '--require-hashes' in words and '--no-deps' in words, words\n",
    )
    python = toolchain_python()
    assert python == toolchain_folder() / "bin" / "python"
    assert check_toolchain(python) == PINNED
    assert toolchain_python() == python
    assert calls.read_text().splitlines() == ["venv --quiet", "pip install"]
    assert [p.name for p in (own_cache / "environments").iterdir()] == [toolchain_folder().name]


def test_an_environment_that_cannot_be_made_leaves_nothing(
    only_these_programs: Path, own_cache: Path
) -> None:
    uv_that(only_these_programs, "sys.exit('error: no such package index')")
    with pytest.raises(AssetError, match=r"no such package index \(exit code 1\); check the netw"):
        toolchain_python()
    assert list((own_cache / "environments").iterdir()) == []


def test_a_package_index_with_another_numpy_is_noticed(
    only_these_programs: Path, own_cache: Path
) -> None:
    uv_that(
        only_these_programs,
        "from pathlib import Path\n"
        "from tests.lite_environment import PINNED, make_environment\n"
        "if words[0] == 'venv':\n"
        "    make_environment(Path(words[-1]), {**PINNED, 'numpy': '2.0.0'})\n",
    )
    with pytest.raises(AssetError, match=r"numpy is 2\.0\.0"):
        toolchain_python()
    assert list((own_cache / "environments").iterdir()) == []


def test_the_lock_file_pins_what_is_checked() -> None:
    text = REQUIREMENTS.read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))
    assert {name: pinned[name] for name in lite_start.PINNED} == lite_start.PINNED
    assert pinned["numpy"].startswith("1.")
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pinned)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_no_package_of_this_python_reaches_the_toolchain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own numpy is asked for its version, whatever the variables of this process say."""
    planted = tmp_path / "planted" / "numpy-2.9.dist-info"
    planted.mkdir(parents=True)
    (planted / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.9\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(planted.parent), *sys.path]))
    assert check_toolchain(make_environment(tmp_path / "good")) == PINNED
