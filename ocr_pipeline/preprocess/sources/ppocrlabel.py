"""PPOCRLabel's project folders: Label.txt, fileState.txt, rec_gt.txt with crop_img/."""

import re
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.ops.parse import means_ignore
from ocr_pipeline.preprocess.sources.files import (
    Line,
    Pictures,
    Reading,
    Spelling,
    child_url,
    exists,
    join,
    matching,
    read_lines,
    split_pattern,
)
from ocr_pipeline.preprocess.sources.paddle_lists import parse_regions, split_line
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import Broken, Labelled, picture_samples, unparsed
from ocr_pipeline.storage import is_remote, open_root

SUFFIXES = (".txt",)
LABELS, STATES, CROPS = "Label.txt", "fileState.txt", "rec_gt.txt"
_CROP_NAME = re.compile(r"(.*)_crop_([0-9]{1,9})\.[^.]*", re.DOTALL)
_PLACEHOLDERS = ("待识别", "无法识别", "TEMPORARY", "NULL")
"""What the tool writes itself for a region that nobody has read yet."""
_AGAIN = "export the recognition results again"


@dataclass(frozen=True)
class _Project:
    """One project.

    Attributes:
        url: its folder.
        folder: the same, below the folder of ``labels``.
        title: name of the folder, which its picture paths begin with.
        files: which of the tool's files are there.
    """

    url: str
    folder: str
    title: str
    files: frozenset[str]


@dataclass(frozen=True)
class _Page:
    """One line of Label.txt: a picture with its regions.

    Attributes:
        place: ``path:line``.
        image: below the image root.
        regions: in the order that crops are numbered in.
        note: the fault that it is not confirmed; None: it is.
    """

    place: str
    image: str
    regions: list[Labelled | Broken]
    note: tuple[str, str] | None


@dataclass
class _Texts:
    """What Label.txt says, by the name that the tool gives crops: that of the picture.

    Attributes:
        pages: pictures with their regions.
        shared: names that several pictures have.
        exported: (name, region number from 0) of the regions that rec_gt.txt has.
    """

    pages: dict[str, _Page] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    exported: set[tuple[str, int]] = field(default_factory=set)

    def add(self, page: _Page) -> None:
        stem = _stem(page.image)
        if stem in self.pages:
            self.shared.add(stem)
        self.pages[stem] = page


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the samples of one project, or of all that a pattern names; see docs/sources.md.

    Raises:
        DataError: a file cannot be read, or the folder is no project with what the task needs.
    """
    pictures = Pictures(reading.images, reading.storage)
    for project in _projects(reading):
        if reading.task == "det" or CROPS not in project.files:
            yield from _regions(project, reading, pictures)
        else:
            yield from _crops(project, reading, pictures)


def project_folder(labels: str) -> str:
    """The folder of one project, which may be named by its Label.txt."""
    if labels.lower().endswith(SUFFIXES):
        return labels.rpartition("/")[0] or ("/" if labels.startswith("/") else ".")
    return labels.rstrip("/") or "/"


def _projects(reading: Reading) -> Iterator[_Project]:
    if "*" not in reading.labels:
        url = project_folder(reading.labels)
        root = open_root(url, reading.storage)
        files = frozenset(name for name in (LABELS, STATES, CROPS) if exists(root, name))
        yield _checked(_Project(url, "", _title(url), files), reading)
        return
    base, pattern = split_pattern(project_folder(reading.labels))
    found: dict[str, set[str]] = {}
    for name in matching(base, f"{pattern}/*.txt", reading.storage):
        folder, _, last = name.rpartition("/")
        if last in (LABELS, STATES, CROPS):
            found.setdefault(folder, set()).add(last)
    if not found:
        raise DataError(f"{base}: no folder matches {pattern!r} and has a {LABELS}; check labels")
    for folder, names in found.items():
        project = _Project(child_url(base, folder), folder, _title(folder), frozenset(names))
        yield _checked(project, reading)


def _title(url: str) -> str:
    return url.rpartition("/")[2] if is_remote(url) else Path(url).absolute().name


def _checked(project: _Project, reading: Reading) -> _Project:
    needed = (LABELS,) if reading.task == "det" else (LABELS, CROPS)
    if not project.files & set(needed):
        raise DataError(
            f"{project.url}: no {' and no '.join(needed)}; expected a PPOCRLabel project: open the "
            "folder there and export the labels (File menu)"
        )
    return project


def _regions(project: _Project, reading: Reading, pictures: Pictures) -> Iterator[RawSample]:
    """From Label.txt alone."""
    for page in _pages(project, reading, pictures):
        if isinstance(page, RawSample):
            yield page
            continue
        for sample in picture_samples(reading.task, page.place, page.image, page.regions):
            yield _noted(sample, page.note)


def _crops(project: _Project, reading: Reading, pictures: Pictures) -> Iterator[RawSample]:
    """From rec_gt.txt, compared with Label.txt where that is there."""
    texts: _Texts | None = None
    if LABELS in project.files:
        texts = _Texts()
        for page in _pages(project, reading, pictures):
            if isinstance(page, RawSample):
                yield page
            else:
                texts.add(page)
    spelling = Spelling(pictures)
    for line in read_lines(join(project.url, CROPS), reading.storage):
        try:
            written, text = split_line(line)
        except LabelError as error:
            yield unparsed(line.place, error)
            continue
        image = spelling.choose(_crop_spellings(written, project, reading))
        crop = RawSample(line.place, image, text)
        sample = crop if texts is None else _compared(crop, written, texts)
        if sample is not None and not means_ignore(text):
            yield _noted(sample, None)
    if texts is not None:
        yield from _not_exported(texts)


def _compared(sample: RawSample, written: str, texts: _Texts) -> RawSample | None:
    """A line of rec_gt.txt, held against its region; None where the region is ignored."""
    stem, number = _crop_key(written)
    if number < 0:
        return sample  # not a name of the tool's: added by hand
    if stem in texts.shared:
        return _disagreeing(
            sample,
            f"{written}: two pictures are called {stem!r}, and PPOCRLabel gives their crops the "
            "same names; rename one",
        )
    page = texts.pages.get(stem)
    if page is None or number >= len(page.regions):
        return _disagreeing(sample, f"{written}: {LABELS} has no region for this crop; {_AGAIN}")
    texts.exported.add((stem, number))
    region = page.regions[number]
    if isinstance(region, Broken):
        return _disagreeing(sample, f"{written}: broken in {LABELS}: {region.error}")
    if region.ignore:
        return None
    if region.text != sample.text:
        says = f"{written}: {sample.text!r} here, {region.text!r} at {region.place}; {_AGAIN}"
        return _disagreeing(sample, says)
    return _noted(sample, page.note)


def _disagreeing(sample: RawSample, says: str) -> RawSample:
    """The sample keeps its label: the user may want it all the same."""
    sentence = f"{says}, or delete {CROPS} so that the regions are cut out here"
    return replace(sample, fault=("label_disagreement", sentence))


def _not_exported(texts: _Texts) -> Iterator[RawSample]:
    for stem, page in texts.pages.items():
        if stem in texts.shared:
            continue
        left = [r for at, r in enumerate(page.regions) if (stem, at) not in texts.exported]
        for sample in picture_samples("rec", page.place, page.image, left):
            if sample.fault is None and page.note is None:
                says = f"{page.image}: the region with {sample.text!r} is not in {CROPS}; {_AGAIN}"
                yield _disagreeing(sample, says)
            else:
                yield _noted(sample, page.note)


def _crop_key(written: str) -> tuple[str, int]:
    """Picture and number of the region that a crop was cut from; -1: not a name of the tool's."""
    match = _CROP_NAME.fullmatch(written.rpartition("/")[2])
    return (match[1], int(match[2])) if match else ("", -1)


def _pages(project: _Project, reading: Reading, pictures: Pictures) -> Iterator[_Page | RawSample]:
    """Yield the pictures of Label.txt, and a sample for each line that cannot be parsed.

    A confirmed picture without a line has no regions: the tool leaves such pictures out.
    """
    confirmed: dict[str, Line] = {}
    for state in _states(project, reading):
        if isinstance(state, RawSample):
            yield state
        else:
            confirmed.setdefault(_key(state.text.partition("\t")[0]), state)
    without_line = dict(confirmed)
    spelling = Spelling(pictures)
    for line in read_lines(join(project.url, LABELS), reading.storage):
        key = _key(line.text.partition("\t")[0])
        without_line.pop(key, None)
        try:
            written, label = split_line(line)
            regions = parse_regions(label, line.place)
        except LabelError as error:
            yield unparsed(line.place, error)
            continue
        image = spelling.choose(_spellings(written, project, reading))
        known = STATES not in project.files or key in confirmed
        yield _Page(line.place, image, regions, None if known else _unconfirmed(key, confirmed))
    for key, state in without_line.items():
        yield _Page(state.place, spelling.choose(_spellings(key, project, reading)), [], None)


def _unconfirmed(key: str, confirmed: Sized) -> tuple[str, str]:
    sentence = (
        f"{key}: not confirmed in PPOCRLabel, where {len(confirmed)} pictures are; check it there "
        "and save"
    )
    return "unconfirmed", sentence


def _states(project: _Project, reading: Reading) -> Iterator[Line | RawSample]:
    """Yield the confirmed pictures of fileState.txt: ``picture<TAB>1`` a line."""
    if STATES not in project.files:
        return
    for line in read_lines(join(project.url, STATES), reading.storage):
        try:
            _, state = split_line(line)
        except LabelError as error:
            yield unparsed(line.place, error)
            continue
        if state.strip() != "0":
            yield line


def _stem(image: str) -> str:
    return PurePosixPath(image).stem


def _key(written: str) -> str:
    """Folder and name of a picture; older versions write whole paths into fileState.txt."""
    return "/".join(written.replace("\\", "/").split("/")[-2:])


def _spellings(written: str, project: _Project, reading: Reading) -> Sequence[str]:
    """A picture's path below the project, or below the folder that the project stands in."""
    below = written.partition("/")[2] or written
    if reading.images_given:
        return (written, below)
    return (join(project.folder, below), join(project.folder, written))


def _crop_spellings(written: str, project: _Project, reading: Reading) -> Sequence[str]:
    if reading.images_given:
        return (join(project.title, written), written)
    return (join(project.folder, written),)


def _noted(sample: RawSample, note: tuple[str, str] | None) -> RawSample:
    """Add a fault to a sample that has none; the tool's own word for "not read" is one."""
    if sample.fault is not None:
        return sample
    if sample.text in _PLACEHOLDERS:
        sentence = f"{sample.text!r} is PPOCRLabel's word for a region not read yet; type its text"
        return replace(sample, fault=("empty_label", sentence))
    return replace(sample, fault=note)
