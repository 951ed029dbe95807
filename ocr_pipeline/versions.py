"""Versions of what had a part in an artefact."""

import platform
from collections.abc import Iterable
from importlib import metadata

import ocr_pipeline

_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "numpy", "opencv-python", "pillow")


def made_by() -> dict[str, str]:
    """Return name to version: this package, Python, what touches pixels or weights."""
    return {
        "ocr_pipeline": ocr_pipeline.__version__,
        "python": platform.python_version(),
        **installed_versions(_PACKAGES),
    }


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package to version, of those that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # one of the two Paddle builds is always absent
    return versions
