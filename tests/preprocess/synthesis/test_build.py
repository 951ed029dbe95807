import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.config.render import DegradeConfig, RenderConfig
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.fonts import find_fonts
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.ops.rec_lists import read_rec_list
from ocr_pipeline.preprocess.synthesis import Synthesised, synthesise
from tests.processes import children, lives

DOMAINS = ("bank_slip", "government_form", "display", "corpus")
CLEAN = dict.fromkeys(DegradeConfig.model_fields, 0)


@pytest.fixture(scope="module")
def fonts() -> list[Path]:
    return find_fonts([], may_fetch=True)


def config(out: Path, **changes: object) -> RenderConfig:
    values = {
        "out": out, "domain": "bank_slip", "train_lines": 6, "val_lines": 3, "train_pages": 1,
        "val_pages": 1, "seed": 4,
    }  # fmt: skip
    return RenderConfig.model_validate(values | changes)


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def texts(folder: Path, name: str) -> list[str]:
    return [line.text for line in read_rec_list(folder / name)]


def marks(folder: Path, name: str) -> list[tuple[str, list[tuple[str, NDArray[np.float32]]]]]:
    rows = (row.split("\t") for row in (folder / name).read_text(encoding="utf-8").splitlines())
    return [
        (
            image,
            [(m["transcription"], np.array(m["points"], np.float32)) for m in json.loads(truth)],
        )
        for image, truth in rows
    ]


@pytest.fixture(scope="module")
def everything(
    tmp_path_factory: pytest.TempPathFactory, fonts: list[Path]
) -> dict[str, Synthesised]:
    """A small set of each domain."""
    root = tmp_path_factory.mktemp("domains")
    return {
        domain: synthesise(
            config(
                root / domain, domain=domain, train_lines=60, val_lines=25, train_pages=3,
                vertical_share=0.3,
            ),
            fonts,
        )
        for domain in DOMAINS
    }  # fmt: skip


@pytest.mark.parametrize("domain", DOMAINS)
def test_lists_name_pictures_that_are_there(
    everything: dict[str, Synthesised], domain: str
) -> None:
    result = everything[domain]
    listed = []
    for name in ("rec_train", "rec_val", "det_train", "det_val"):
        lines = list(read_rec_list(result.folder / f"{name}.txt"))
        assert len(lines) == result.counts[name]
        listed += [line.image for line in lines]
    assert result.counts["det_train"] == 3
    assert result.counts["rec_train"] > 60, "lines of the pages have joined"
    pictures = [name for name in files(result.folder) if name.endswith(".jpg")]
    assert sorted(listed) == sorted(pictures)
    for name in listed:
        picture = read_image(result.folder / name)
        assert min(picture.shape[:2]) >= 8


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_text_of_validation_is_trained_on(
    everything: dict[str, Synthesised], domain: str
) -> None:
    folder = everything[domain].folder
    train, val = set(texts(folder, "rec_train.txt")), set(texts(folder, "rec_val.txt"))
    assert len(val) >= 20
    assert not train & val


@pytest.mark.parametrize("domain", DOMAINS)
def test_lines_show_their_ink(everything: dict[str, Synthesised], domain: str) -> None:
    folder = everything[domain].folder
    for line in read_rec_list(folder / "rec_train.txt"):
        grey = cv2.cvtColor(read_image(folder / line.image), cv2.COLOR_BGR2GRAY)
        low, high = np.percentile(grey, (2, 98))
        assert high - low > 12, line
        assert grey.shape[1] / grey.shape[0] < 1.6 * len(line.text) + 2, line


@pytest.mark.parametrize("domain", DOMAINS)
def test_polygons_lie_inside_the_picture_and_on_ink(
    tmp_path: Path, fonts: list[Path], domain: str
) -> None:
    settings = config(
        tmp_path / "out", domain=domain, train_lines=0, val_lines=0, train_pages=4, val_pages=0,
        degrade=CLEAN | {"perspective": 0.5, "stamp": 0.5}, page_crops=False,
    )  # fmt: skip
    folder = synthesise(settings, fonts).folder
    assert (folder / "rec_train.txt").read_text() == ""
    for name, found in marks(folder, "det_train.txt"):
        picture = read_image(folder / name)
        height, width = picture.shape[:2]
        blurred = cv2.GaussianBlur(picture, (0, 0), 1.0)
        edges = np.abs(cv2.Laplacian(blurred, cv2.CV_32F)).max(axis=2) > 10
        inside = np.zeros((height, width), np.uint8)
        assert len(found) >= 2
        for text, points in found:
            assert len(points) == 4 or text == "###"
            assert points.min() >= 0
            assert (points <= (width - 1, height - 1)).all()
            cv2.fillPoly(inside, [np.round(points).astype(np.int32)], 1)
            if text == "###":
                continue
            own = np.zeros((height, width), np.uint8)
            cv2.fillPoly(own, [np.round(points).astype(np.int32)], 1)
            assert edges[own > 0].mean() > 0.1, (name, text)
        assert edges[inside > 0].mean() > 3 * edges[inside == 0].mean()


def test_the_files_are_the_same_whatever_the_number_of_processes(
    tmp_path: Path, fonts: list[Path]
) -> None:
    seen: list[tuple[int, int]] = []
    changes: dict[str, object] = {"train_lines": 40, "train_pages": 3, "vertical_share": 0.2}
    alone = synthesise(
        config(tmp_path / "a", **changes), fonts, on_progress=lambda *pair: seen.append(pair)
    )
    both = synthesise(config(tmp_path / "b", workers=2, **changes), fonts)
    assert files(alone.folder) == files(both.folder)
    assert seen[-1] == (47, 47)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    other = synthesise(config(tmp_path / "c", **changes | {"seed": 5}), fonts)
    assert files(alone.folder) != files(other.folder)


def test_a_picture_follows_from_the_seed_and_its_number(tmp_path: Path, fonts: list[Path]) -> None:
    few = files(synthesise(config(tmp_path / "few"), fonts).folder)
    many = files(synthesise(config(tmp_path / "many", train_lines=11, train_pages=2), fonts).folder)
    pictures = {name for name in few if name.endswith(".jpg")}
    assert len(pictures) > 10
    assert all(few[name] == many[name] for name in pictures)


def test_every_character_asked_for_stands_in_the_training_list(
    tmp_path: Path, fonts: list[Path]
) -> None:
    rare = [chr(code) for code in range(0x5100, 0x5140)]
    dictionary = [
        *"0123456789年月日元角分整零壹贰叁肆伍陆柒捌玖拾佰仟万人民币-/.,¥￥RMBCNY ".replace(" ", "")
    ]
    charset_file = tmp_path / "dictionary.txt"
    entries = list(dict.fromkeys([*dictionary, *rare, "Ą", "\u3000", "🇨🇳"]))
    Charset(entries).save(charset_file)
    settings = config(
        tmp_path / "out", train_lines=330, val_pages=0,
        coverage={"charset": str(charset_file), "at_least": 12, "filler_length": 8},
    )  # fmt: skip
    result = synthesise(settings, fonts)
    assert result.not_drawn == ("Ą", "\u3000", "🇨🇳")
    found = texts(result.folder, "rec_train.txt")
    counts = Counter("".join(found))
    drawable = [entry for entry in [*entries, " "] if entry not in result.not_drawn]
    assert min(counts[entry] for entry in drawable) >= 12
    charset = Charset(entries)
    for text in [*found, *texts(result.folder, "rec_val.txt")]:
        assert charset.encode(text)
    card = json.loads((result.folder / "synthesis.json").read_text(encoding="utf-8"))
    assert card["least_seen"] >= 12
    assert card["not_drawn"] == ["Ą", "\u3000", "🇨🇳"]
    assert card["filler_lines"] == result.filler
    assert 100 < result.filler < 330


def test_a_dictionary_that_is_absent_is_named(tmp_path: Path, fonts: list[Path]) -> None:
    settings = config(tmp_path / "out", coverage={"charset": "some_model"})
    with pytest.raises(DataError, match="charset: some_model: no such dictionary file; name a"):
        synthesise(settings, fonts)
    charset = Charset(list("年月日元角分整零壹贰叁肆伍陆柒捌玖拾佰仟万0123456789.,-"))
    settings = config(tmp_path / "out", coverage={"charset": "some_model", "at_least": 1})
    assert synthesise(settings, fonts, charset=charset).counts["rec_train"] >= 6


def test_a_character_set_that_no_text_fits_is_named(tmp_path: Path, fonts: list[Path]) -> None:
    message = r"domain display: no text for the val part among 2,000 \(.*not in the character set"
    with pytest.raises(DataError, match=message):
        synthesise(config(tmp_path / "out", domain="display"), fonts, charset=Charset(["甲"]))
    assert list(tmp_path.iterdir()) == []


def test_vertical_lines_are_turned_as_the_reader_turns_them(
    tmp_path: Path, fonts: list[Path]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"一一一一一{chr(n)}\n" for n in range(0x5000, 0x5050)), "utf-8")
    settings = config(
        tmp_path / "out", domain="corpus", corpus=corpus, train_pages=0, val_pages=0,
        train_lines=30, vertical_share=1.0, degrade=CLEAN,
    )  # fmt: skip
    folder = synthesise(settings, fonts).folder
    for line in read_rec_list(folder / "rec_train.txt"):
        ink = cv2.cvtColor(read_image(folder / line.image), cv2.COLOR_BGR2GRAY) < 140
        assert ink.shape[1] > 3 * ink.shape[0], "lies on its side"
        # The first five are level strokes; turned counter-clockwise they stand upright, left.
        first = ink[:, : ink.shape[1] // 2]
        tall = first.mean(axis=0).max()
        assert tall > 0.6, line
        assert first.mean(axis=1).max() < 0.6
        assert ink[:, -ink.shape[0] :].sum() > 0


def test_lines_are_not_turned_unless_asked_for(everything: dict[str, Synthesised]) -> None:
    for name, found in marks(everything["bank_slip"].folder, "det_train.txt"):
        upright = [p for text, p in found if text == "付款人"]
        assert len(upright) == 1, name
        points = upright[0]
        assert np.ptp(points[:, 1]) > 1.5 * np.ptp(points[:, 0])
        assert points[0, 1] < points[3, 1]
        assert points[0, 0] < points[1, 0]


def test_texts_and_grounds_of_the_user_are_drawn(tmp_path: Path, fonts: list[Path]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"自己的文字第{n}行Ą\n" for n in range(200)), encoding="utf-8")
    grounds = tmp_path / "纸"
    grounds.mkdir()
    _, content = cv2.imencode(".png", np.full((50, 70, 3), (0, 200, 0), np.uint8))
    (grounds / "绿.png").write_bytes(content.tobytes())
    settings = config(
        tmp_path / "out", corpus=corpus, backgrounds=grounds, degrade=CLEAN, page_crops=False
    )
    result = synthesise(settings, fonts)
    assert result.left_out == ("Ą",)
    for line in read_rec_list(result.folder / "rec_train.txt"):
        assert any(line.text in f"自己的文字第{number}行" for number in range(200))
        picture = read_image(result.folder / line.image)
        assert np.abs(np.median(picture.reshape(-1, 3), axis=0) - (0, 200, 0)).max() < 20


def test_a_folder_without_grounds_is_named(tmp_path: Path, fonts: list[Path]) -> None:
    with pytest.raises(DataError, match=r"nowhere: no picture to draw on \(\.png"):
        synthesise(config(tmp_path / "out", backgrounds=tmp_path / "nowhere"), fonts)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png: cannot be drawn on .*take it out of the folder"):
        synthesise(config(tmp_path / "out", backgrounds=tmp_path / "bad"), fonts)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bad"], "nothing half-made is left"


def test_an_existing_folder_is_kept(tmp_path: Path, fonts: list[Path]) -> None:
    with pytest.raises(ArtifactError, match="exists already"):
        synthesise(config(tmp_path), fonts)


_ENDLESS = """
import sys
from pathlib import Path
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.fonts import find_fonts
from ocr_pipeline.preprocess.synthesis import synthesise

def report(done, total):
    print(done, flush=True)

if __name__ == "__main__":
    settings = RenderConfig(
        out=Path(sys.argv[1]), domain="corpus", train_lines=4000, val_lines=0, workers=2
    )
    synthesise(settings, find_fonts([], may_fetch=False), on_progress=report)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see processes")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_half_folder_and_no_processes(
    tmp_path: Path, fonts: list[Path], sign: int
) -> None:
    script = tmp_path / "endless.py"
    script.write_text(_ENDLESS)
    place = tmp_path / "place"
    command = [sys.executable, str(script), str(place / "out")]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout is not None
    try:
        assert int(run.stdout.readline()) > 0
        workers = children(run.pid)
        assert len(workers) >= 2
        assert not (place / "out").exists()
    finally:
        run.send_signal(sign)
        run.stdout.close()
        assert run.wait(timeout=60) != 0
    deadline = time.monotonic() + 30
    while any(lives(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(lives(pid) for pid in workers)
    assert not (place / "out").exists()
    synthesise(config(place / "out", train_pages=0, val_pages=0), fonts)
    assert [path.name for path in place.iterdir()] == ["out"]
