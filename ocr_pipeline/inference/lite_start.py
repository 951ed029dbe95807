"""What each process of the Paddle Lite toolchain runs first, on Python 3.10.

``python -I lite_start.py SCRIPT ARGUMENTS``: refuse where a pinned package is of another version,
then run the script, with this project's own code importable and nothing else of its environment.
Without a script it names the versions, ``name==version`` a line.
"""

import importlib.util
import runpy
import sys
from importlib import metadata
from pathlib import Path

NOT_PINNED = 3
"""Exit code where a version is another."""
PINNED = {"paddlelite": "2.13rc0", "paddlepaddle": "2.6.2"}
_PACKAGE = Path(__file__).resolve().parents[1]


def versions() -> dict[str, str]:
    """Name to installed version of what the result depends on; 'absent' where it is not there."""
    found = {}
    for name in (*PINNED, "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def faults(found: dict[str, str]) -> list[str]:
    """What is wrong with these versions, a phrase each; empty where nothing is."""
    wrong = [
        f"{name} is {found[name]}, needed is {wanted}"
        for name, wanted in PINNED.items()
        if found[name] != wanted
    ]
    if found["numpy"].split(".")[0] != "1":
        wrong.append(f"numpy is {found['numpy']}, needed is 1.x: with 2 Lite computes garbage")
    return wrong


def import_project() -> None:
    """Make ``ocr_pipeline`` importable, not the packages that are installed beside it."""
    spec = importlib.util.spec_from_file_location(
        _PACKAGE.name, _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{_PACKAGE}: cannot be imported")
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE.name] = package
    spec.loader.exec_module(package)


def main() -> None:
    """Check, then become the script named on the command line."""
    found = versions()
    if wrong := faults(found):
        sys.stderr.write(
            f"the Paddle Lite toolchain at {sys.prefix}: {'; '.join(wrong)}; delete that folder "
            "and have it made again\n"
        )
        sys.exit(NOT_PINNED)
    if len(sys.argv) == 1:
        sys.stdout.writelines(f"{name}=={version}\n" for name, version in found.items())
        return
    import_project()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
