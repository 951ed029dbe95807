import struct
from pathlib import Path

import pytest

from ocr_pipeline.errors import TrainingError
from ocr_pipeline.training import sinks
from ocr_pipeline.training.sinks import open_sinks

ROWS = [
    {"step": 0, "val_exact": 10.0},
    {"step": 10, "lr": 0.5, "seconds": 1.25, "total": 3.0},
    {"step": 20, "val_exact": 12.5},
]


def test_without_names_nothing_is_opened(tmp_path: Path) -> None:
    assert open_sinks([], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_all_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_is_installed", lambda package: False)
    with pytest.raises(TrainingError, match="pip install tensorboardX visualdl, or leave them out"):
        open_sinks(["tensorboard", "visualdl", "tensorboard"], tmp_path)


def test_tensorboard_gets_every_figure(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    (sink,) = open_sinks(["tensorboard"], tmp_path)
    for row in ROWS:
        sink.write(row)
    sink.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    scalars = dict(read_scalars(events.read_bytes()))
    assert scalars == {
        ("val/exact", 0): 10.0,
        ("train/lr", 10): 0.5,
        ("time/seconds", 10): 1.25,
        ("train/total", 10): 3.0,
        ("val/exact", 20): 12.5,
    }


def test_visualdl_gets_every_figure(tmp_path: Path) -> None:
    visualdl = pytest.importorskip("visualdl", reason="visualdl is not installed")
    (sink,) = open_sinks(["visualdl"], tmp_path)
    for row in ROWS:
        sink.write(row)
    sink.close()
    (log,) = (tmp_path / "visualdl").iterdir()
    reader = visualdl.LogReader(file_path=str(log))
    exact = [(point.id, point.value) for point in reader.get_data("scalar", "val/exact")]
    assert exact == [(0, 10.0), (20, 12.5)]
    assert [point.value for point in reader.get_data("scalar", "train/total")] == [3.0]


def read_scalars(content: bytes) -> list[tuple[tuple[str, int], float]]:
    """(tag, step) and value of each scalar in a file of TensorBoard's records."""
    from tensorboardX.proto.event_pb2 import Event

    found, at = [], 0
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        event = Event.FromString(content[at + 12 : at + 12 + size])
        at += 12 + size + 4
        found += [((value.tag, event.step), value.simple_value) for value in event.summary.value]
    return found
