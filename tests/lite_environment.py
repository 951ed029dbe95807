"""A Python environment that claims to be the Paddle Lite toolchain: real processes, quick ones."""

import sysconfig
import venv
from pathlib import Path

PINNED = {"paddlelite": "2.13rc0", "paddlepaddle": "2.6.2", "numpy": "1.26.4"}

LITE = '''
"""What the worker calls of Paddle Lite; a model file's text says what its predictor does."""

import os
import sys
import time
from pathlib import Path

import numpy as np


class MobileConfig:
    def set_model_from_file(self, path):
        self.path = path


class Holder:
    def __init__(self, predictor):
        self.predictor = predictor

    def from_numpy(self, array):
        if self.predictor.size not in (None, array.shape):
            sys.stderr.write("double free or corruption (!prev)\\n")
            sys.stderr.flush()
            os.abort()
        self.predictor.size = array.shape
        self.predictor.image = array

    def numpy(self):
        return self.predictor.result


class Predictor:
    alive = 0

    def __init__(self, does):
        self.does = does
        self.size = None
        Predictor.alive += 1

    def __del__(self):
        Predictor.alive -= 1

    def get_input(self, index):
        return Holder(self)

    def get_output(self, index):
        return Holder(self)

    def run(self):
        print("computing")
        mark = float(self.image[0, 0, 0, 0])
        if mark == 666:
            sys.stderr.write("[F lite/operators/op.cc:44 InferShapeImpl] no valid out_shape\\n\\n")
            sys.stderr.flush()
            os.abort()
        if mark == 777:
            time.sleep(60)
        if self.does == "count":
            self.result = np.full((1, 2, 1), Predictor.alive, np.float32)
        else:
            self.result = self.image.sum(axis=1, keepdims=True)


def create_paddle_predictor(config):
    path = Path(config.path)
    does = path.read_text()
    Path(str(path) + ".pid").write_text(str(os.getpid()))
    print("1. Model is successfully loaded!")
    if does == "broken":
        sys.stderr.write("[F model_parser.cc:776] The model format cannot be recognized.\\n")
        sys.stderr.flush()
        os.abort()
    return Predictor(does)
'''


def make_environment(
    folder: Path, versions: dict[str, str] = PINNED, *, lite: str | None = LITE
) -> Path:
    """Make an environment whose packages claim ``versions``; return its interpreter.

    Its numpy is this one's. ``lite`` is the source of ``paddlelite.lite``; None: there is none.
    """
    venv.EnvBuilder(symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name, version in versions.items():
        facts = packages / f"{name}-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    here = Path(sysconfig.get_paths()["platlib"])
    for part in ("numpy", "numpy.libs"):
        if (here / part).exists():
            (packages / part).symlink_to(here / part)
    if lite is not None:
        (packages / "paddlelite").mkdir()
        (packages / "paddlelite" / "__init__.py").touch()
        (packages / "paddlelite" / "lite.py").write_text(lite)
    return folder / "bin" / "python"
