"""Writes one set of pages in every format, as the format's own tool or release does."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.config.sources import Kind, SourceConfig, StorageConfig, Task
from ocr_pipeline.preprocess.sources import OpenSource, RawRegion, RawSample, open_source

Points = tuple[tuple[float, float], ...]

UPRIGHT: Points = ((1.0, 2.0), (30.0, 2.0), (30.0, 12.0), (1.0, 12.0))
TURNED: Points = ((40.0, 5.0), (80.0, 9.0), (79.0, 20.0), (39.0, 16.0))
LOW: Points = ((5.0, 30.0), (55.0, 30.0), (55.0, 44.0), (5.0, 44.0))
PICTURE = b"not looked into"


@dataclass(frozen=True)
class Page:
    """One picture with its regions; size is (height, width) px."""

    image: str
    size: tuple[int, int]
    regions: tuple[RawRegion, ...]


PAGES = (
    Page(
        "发票 第1页.jpg",
        (50, 90),
        (
            RawRegion(UPRIGHT, "合计（大写），叁佰元整", False),
            RawRegion(TURNED, 'said "no", twice,', False),
            RawRegion(LOW, "全角　空格", False),
        ),
    ),
    Page(
        "b c.jpg",
        (60, 100),
        (
            RawRegion(UPRIGHT, "emoji 😀 café\u2028x\x85y", False),
            RawRegion(TURNED, "###", True),
            RawRegion(LOW, "", False),
        ),
    ),
)
"""Chinese, commas, quotes, U+3000, an emoji, line separators that are no line ends, an ignored and
an empty region; a space in each name."""


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)


def source(
    labels: object,
    task: Task,
    kind: Kind = "list",
    *,
    images: str | None = None,
    default_images: str | None = None,
    group: str | None = None,
) -> OpenSource:
    config = SourceConfig(labels=str(labels), kind=kind, images=images, group=group)
    return open_source(config, task, images=default_images, storage=StorageConfig())


def read(labels: object, task: Task, kind: Kind = "list", **more: str | None) -> list[RawSample]:
    return list(source(labels, task, kind, **more).samples())


def faults(samples: Sequence[RawSample]) -> list[str]:
    return [sample.fault[0] for sample in samples if sample.fault is not None]


def only_fault(samples: Sequence[RawSample]) -> tuple[RawSample, str]:
    """The one sample with a fault, and the fault's sentence."""
    (bad,) = [sample for sample in samples if sample.fault is not None]
    assert bad.fault is not None
    assert bad.fault[0] == ("not_utf8" if "UTF-" in bad.fault[1] else "format")
    return bad, bad.fault[1]


def expected_det(
    pages: Sequence[Page] = PAGES, folder: str = ""
) -> list[tuple[str, tuple[RawRegion, ...]]]:
    return [(folder + page.image, page.regions) for page in pages]


def expected_rec(pages: Sequence[Page] = PAGES, folder: str = "") -> list[tuple[str, str, Points]]:
    return [
        (folder + page.image, region.text, region.points)
        for page in pages
        for region in page.regions
        if not region.ignore
    ]


def as_det(samples: Sequence[RawSample]) -> list[tuple[str, tuple[RawRegion, ...] | None]]:
    assert faults(samples) == []
    assert all(sample.text is None and sample.crop is None for sample in samples)
    return [(sample.image, sample.regions) for sample in samples]


def as_rec(samples: Sequence[RawSample]) -> list[tuple[str, str | None, Points | None]]:
    assert faults(samples) == []
    assert all(sample.regions is None for sample in samples)
    return [(sample.image, sample.text, sample.crop) for sample in samples]


def paddle_label(page: Page) -> str:
    entries = [
        {
            "transcription": region.text,
            "points": [[int(x), int(y)] for x, y in region.points],
            "difficult": False,
        }
        for region in page.regions
    ]
    return json.dumps(entries, ensure_ascii=False)


def write_det_list(path: Path, folder: str = "") -> None:
    lines = [f"{folder}{page.image}\t{paddle_label(page)}\n" for page in PAGES]
    path.write_text("".join(lines), encoding="utf-8", newline="")


def write_ppocrlabel(project: Path, *, crops: bool, absolute_states: bool = False) -> None:
    """As PPOCRLabel 3: paths begin with the folder's name; crops of every region, ignored too."""
    touch(project, *(page.image for page in PAGES))
    write_det_list(project / "Label.txt", f"{project.name}/")
    write_det_list(project / "Cache.cach", f"{project.name}/")
    head = "C:\\jobs\\" + project.name + "\\" if absolute_states else f"{project.name}/"
    states = [f"{head}{page.image}\t1\n" for page in PAGES]
    (project / "fileState.txt").write_text("".join(states), encoding="utf-8", newline="")
    if not crops:
        return
    lines = []
    for page in PAGES:
        for number, region in enumerate(page.regions):
            name = f"crop_img/{Path(page.image).stem}_crop_{number}.jpg"
            touch(project, name)
            lines.append(f"{name}\t{region.text}\n")
    (project / "rec_gt.txt").write_text("".join(lines), encoding="utf-8", newline="")


def write_icdar(folder: Path) -> None:
    """As the 2015 release: a byte-order mark, CRLF, nothing quoted."""
    for page in PAGES:
        touch(folder, page.image)
        lines = [
            ",".join(str(int(n)) for point in region.points for n in point) + f",{region.text}\r\n"
            for region in page.regions
        ]
        content = "\ufeff" + "".join(lines)
        path = folder / f"gt_{Path(page.image).stem}.txt"
        path.write_text(content, encoding="utf-8", newline="")


def labelme_shape(
    text: str, points: Points, kind: str = "polygon", **more: object
) -> dict[str, object]:
    shape: dict[str, object] = {
        "label": text,
        "points": [list(point) for point in points],
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }
    return shape | more


def labelme_card(image: str, shapes: list[dict[str, object]], **more: object) -> str:
    card: dict[str, object] = {
        "version": "6.3.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": 50,
        "imageWidth": 90,
    }
    return json.dumps(card | more, ensure_ascii=False, indent=2)


def write_labelme(folder: Path, *, described: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        touch(folder, page.image)
        shapes = [
            labelme_shape("text", region.points, description=region.text)
            if described
            else labelme_shape(region.text, region.points)
            for region in page.regions
        ]
        height, width = page.size
        text = labelme_card(page.image, shapes, imageHeight=height, imageWidth=width)
        (folder / page.image).with_suffix(".json").write_text(text, encoding="utf-8")


def coco_card() -> dict[str, list[dict[str, object]]]:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, page in enumerate(PAGES, start=1):
        height, width = page.size
        images.append({"id": number, "file_name": page.image, "height": height, "width": width})
        for region in page.regions:
            flat = [n for point in region.points for n in point]
            left, top = min(flat[::2]), min(flat[1::2])
            annotation: dict[str, object] = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": 1,
                "segmentation": [flat],
                "bbox": [left, top, max(flat[::2]) - left, max(flat[1::2]) - top],
                "iscrowd": 0,
                "utf8_string": region.text,
            }
            annotations.append(annotation)
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "text"}],
    }


def xfund_card(pages: Sequence[Page]) -> dict[str, object]:
    """Upright regions alone: XFUND knows no other."""
    documents = []
    for number, page in enumerate(pages):
        height, width = page.size
        entries = [
            {
                "box": [int(n) for n in (*region.points[0], *region.points[2])],
                "text": region.text,
                "label": "question",
                "words": [{"box": [0, 0, 1, 1], "text": letter} for letter in region.text],
                "linking": [],
                "id": at,
            }
            for at, region in enumerate(page.regions)
        ]
        picture = {"fname": page.image, "width": width, "height": height}
        documents.append({"id": f"zh_{number}", "uid": "0", "document": entries, "img": picture})
    return {"lang": "zh", "version": "0.1", "split": "val", "documents": documents}


def kinds(samples: Sequence[RawSample]) -> Counter[str]:
    return Counter(faults(samples))
