"""What is kept under version control."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT

LARGEST = 2**20


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no git checkout here"
)
def test_no_data_is_tracked() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert paths
    pictures = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pdf"}
    present = [path for path in paths if path.is_file()]
    assert not [path for path in present if path.suffix.lower() in pictures]
    assert not [path for path in present if path.stat().st_size > LARGEST]
    assert not [path for path in present if b"\0" in path.read_bytes()]
