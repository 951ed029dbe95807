"""API keys: what a key is, which files are keys files, and what happens when one changes."""

import hashlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ocr_pipeline.errors import ConfigError
from ocr_pipeline.serving.keys import KeyRing, new_key, read_keys

DIGEST = hashlib.sha256(b"secret").hexdigest()


def write(folder: Path, text: str) -> Path:
    path = folder / "keys.txt"
    path.write_text(text, encoding="utf-8")
    return path


def ring_that_looks_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    monkeypatch.setattr("ocr_pipeline.serving.keys._LOOK_EVERY_S", 0.0)
    return KeyRing(path)


def test_a_new_key_is_random_and_its_line_holds_only_its_digest() -> None:
    key, line = new_key("alice")
    assert line == f"alice:{hashlib.sha256(key.encode()).hexdigest()}"
    assert re.fullmatch(r"ocr_[A-Za-z0-9_\-]{43}", key)
    assert new_key("alice")[0] != key


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a\nb", "é", "a" * 65])
def test_a_name_that_would_break_the_file_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 letters"):
        new_key(name)


def test_comments_and_empty_lines_are_no_keys(tmp_path: Path) -> None:
    [key] = read_keys(write(tmp_path, f"# ours\n\n  alice:{DIGEST}  \n"))
    assert (key.name, key.digest) == ("alice", DIGEST)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has 0 keys"),
        ("# none\n", "has 0 keys"),
        (f"alice:{DIGEST}\nalice:secret\n", "line 2 is no 'name:sha256-hex'"),
        (f"alice:{DIGEST.upper()}\n", "line 1 is no"),
        (f"alice:{DIGEST}x\n", "line 1 is no"),
        (f"{DIGEST}\n", "line 1 is no"),
        ("#" * (2 * 1024 * 1024 + 1), "more than 2,097,152 bytes"),
        ("".join(f"k{n}:{DIGEST}\n" for n in range(10_001)), "has 10001 keys"),
    ],
)
def test_a_file_that_is_no_keys_file_is_refused_and_its_keys_are_not_told(
    tmp_path: Path, text: str, fault: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(f"keys file {path}: ") + ".*" + fault) as error:
        read_keys(path)
    assert "secret" not in str(error.value)


def test_a_file_that_is_absent_or_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing(tmp_path / "none")
    binary = tmp_path / "binary"
    binary.write_bytes(b"alice:\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        KeyRing(binary)


def test_only_the_key_itself_opens(tmp_path: Path) -> None:
    ring = KeyRing(write(tmp_path, f"bob:{'0' * 64}\nalice:{DIGEST}\n"))
    assert ring.name_of("secret") == "alice"
    for wrong in ("", "Secret", "secret ", DIGEST, f"alice:{DIGEST}", "sécret"):
        assert ring.name_of(wrong) is None


def test_every_key_is_compared_whichever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    monkeypatch.setattr(
        "ocr_pipeline.serving.keys.hmac.compare_digest",
        lambda one, other: compared.append(one) or one == other,
    )
    ring = KeyRing(write(tmp_path, f"alice:{DIGEST}\n" + f"bob:{'0' * 64}\n" * 9))
    for key in ("secret", "wrong", ""):
        compared.clear()
        ring.name_of(key)
        assert len(compared) == 10


def test_a_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, f"alice:{DIGEST}\n")
    ring = ring_that_looks_at_once(path, monkeypatch)
    key, line = new_key("bob")
    caplog.set_level(logging.INFO)

    write(tmp_path, f"alice:{DIGEST}\n{line}\n")
    assert ring.name_of(key) == "bob"
    assert "2 keys are valid now" in caplog.text

    write(tmp_path, "half a li")
    assert ring.name_of(key) == "bob"
    assert ring.name_of("secret") == "alice"
    assert caplog.text.count("line 1 is no 'name:sha256-hex'") == 1
    assert "the keys before it stay valid" in caplog.text

    path.unlink()
    assert ring.name_of(key) == "bob"
    assert "cannot be read" in caplog.text

    write(tmp_path, f"{line}\n")
    assert ring.name_of("secret") is None
    assert ring.name_of(key) == "bob"


def test_a_file_replaced_by_one_of_the_same_size_and_age_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, f"alice:{DIGEST}\n")
    ring = ring_that_looks_at_once(path, monkeypatch)
    age = path.stat().st_mtime_ns
    other = tmp_path / "other"
    other.write_text(f"clair:{DIGEST}\n", encoding="utf-8")
    os.utime(other, ns=(age, age))
    other.replace(path)
    assert ring.name_of("secret") == "clair"


def test_the_command_prints_a_line_that_the_key_opens(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ocr_pipeline", "key", "alice"]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    key = result.stderr.strip().rpartition(" ")[2]
    assert KeyRing(write(tmp_path, result.stdout)).name_of(key) == "alice"
    assert key not in result.stdout


def test_the_command_refuses_a_name_in_one_message() -> None:
    words = [sys.executable, "-m", "ocr_pipeline", "key", "a:b"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == ConfigError.exit_code
    assert "key name 'a:b'" in result.stderr
    assert "Traceback" not in result.stderr
