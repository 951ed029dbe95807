"""The faults of labels and pictures: what they are called, why they hurt, what may be done."""

from dataclasses import dataclass
from typing import Literal

from ocr_pipeline.config.sources import Task

Action = Literal["refuse", "fix", "keep"]
"""refuse: what has the fault is left out. fix: it is mended and taken. keep: it is said only."""

BOTH: tuple[Task, ...] = ("rec", "det")
REC: tuple[Task, ...] = ("rec",)
DET: tuple[Task, ...] = ("det",)


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: in findings, policies and reports.
        title: in a few words.
        explanation: why it hurts, and what to do.
        actions: those that a policy may name; the first is the default.
        tasks: where it is looked for.
    """

    name: str
    title: str
    explanation: str
    actions: tuple[Action, ...]
    tasks: tuple[Task, ...] = BOTH

    @property
    def default(self) -> Action:
        """What is done where no policy is given."""
        return self.actions[0]


_LISTS = (
    Fault(
        "format",
        "label cannot be parsed",
        "The line or entry is not of the form that its kind of source has. Mend it in the file.",
        ("refuse",),
    ),
    Fault(
        "not_utf8",
        "label is not UTF-8",
        "Bytes of another encoding (often GBK) would become wrong characters. Save it as UTF-8.",
        ("refuse",),
    ),
    Fault(
        "outside_root",
        "path leads out of the picture folder",
        "Only pictures below the image root are read. Move the picture, or set another root.",
        ("refuse",),
    ),
    Fault(
        "duplicate",
        "labelled twice, the same",
        "The second label adds nothing. Keep one; weights of sources repeat samples on purpose.",
        ("refuse",),
    ),
    Fault(
        "conflict",
        "labelled twice, differently",
        "One picture cannot say two things. The first label is taken; look which one is right.",
        ("refuse",),
    ),
    Fault(
        "unconfirmed",
        "label that nobody confirmed",
        "It was proposed by a model and not looked at: the new model would learn the old one's "
        "mistakes. Confirm it in the label tool.",
        ("refuse", "keep"),
    ),
    Fault(
        "label_disagreement",
        "two files of one project disagree",
        "The label tool's files say different things of the same thing. Save the project again.",
        ("refuse", "keep"),
    ),
    Fault(
        "unlabelled_picture",
        "picture without a label",
        "It lies in the folder, and no label names it: perhaps a lost label file. Label it, or "
        "leave it.",
        ("keep",),
    ),
)

_TEXT = (
    Fault(
        "empty_label",
        "label is empty",
        "A line without text teaches the recognizer to be silent. Write the text, or take it out.",
        ("refuse",),
        REC,
    ),
    Fault(
        "unknown_character",
        "character outside the character set",
        "The network has no class for it. Often another form (full width, traditional) is meant: "
        "see the suggestion; else train with `dictionary.mode: union`.",
        ("refuse", "fix"),
        REC,
    ),
    Fault(
        "outer_space",
        "white space around the label",
        "It is not in the picture, and would be learnt as a character.",
        ("fix", "refuse", "keep"),
        REC,
    ),
    Fault(
        "odd_space",
        "a space that is not U+0020",
        "Tab, no-break and full-width spaces look alike; the network has one space.",
        ("fix", "refuse", "keep"),
        REC,
    ),
    Fault(
        "double_space",
        "several spaces in a row",
        "How many spaces a gap is, no picture tells: the network is punished for guessing.",
        ("fix", "refuse", "keep"),
        REC,
    ),
    Fault(
        "invisible_character",
        "invisible or control character",
        "Zero-width, direction and control characters and byte-order marks have no picture.",
        ("fix", "refuse", "keep"),
        BOTH,
    ),
    Fault(
        "replacement_character",
        "U+FFFD: the text was damaged earlier",
        "Some tool could not decode the label and lost characters. Export it again as UTF-8.",
        ("refuse", "keep"),
        REC,
    ),
    Fault(
        "mojibake",
        "text decoded with the wrong encoding",
        "The characters are UTF-8 or GBK bytes that were read as something else. Where the "
        "suggestion is right, set the policy fix.",
        ("refuse", "fix", "keep"),
        REC,
    ),
    Fault(
        "not_nfc",
        "character in pieces",
        "A letter and its accent are two characters here, one in the character set (Unicode NFC).",
        ("fix", "refuse", "keep"),
        REC,
    ),
    Fault(
        "multi_line",
        "label of several lines",
        "The recognizer reads one line. Cut the picture into lines.",
        ("refuse",),
        REC,
    ),
    Fault(
        "ignore_mark",
        "an ignore mark as text",
        "`###` or `*` says that the text cannot be read; learnt as text it is read everywhere.",
        ("refuse", "keep"),
        REC,
    ),
    Fault(
        "label_too_long",
        "label longer than the network can say",
        "CTC needs a time step for each character, and one between equal ones; there are fewer. "
        "Cut the line, or check that the label belongs to this picture.",
        ("refuse",),
        REC,
    ),
    Fault(
        "too_long_for_guide",
        "longer than the guide was trained for",
        "The released NRTR decoder never saw labels of this length. CTC learns from it all the "
        "same.",
        ("keep", "refuse"),
        REC,
    ),
    Fault(
        "implausible_length",
        "label does not fit the picture's shape",
        "Far more or far fewer characters than a line of this width holds: the label of another "
        "picture, or a bad cut.",
        ("keep", "refuse"),
        REC,
    ),
)

_PICTURES = (
    Fault(
        "missing_picture",
        "no such picture",
        "The label names a file that is not there. Check the image root and the spelling.",
        ("refuse",),
    ),
    Fault(
        "unreadable_picture",
        "picture cannot be decoded",
        "Empty, cut off, damaged, or no picture at all. Copy it again from where it comes from.",
        ("refuse",),
    ),
    Fault(
        "too_large_picture",
        "picture above the limits",
        "More bytes or pixels than `limits` allow. Make it smaller, or raise the limit.",
        ("refuse",),
    ),
    Fault(
        "blank_picture",
        "nothing in the picture",
        "All pixels are alike, so there is no text to learn from: a failed scan or a wrong cut.",
        ("refuse", "keep"),
    ),
    Fault(
        "tiny_picture",
        "too few pixels to be read",
        "Below some eight pixels of height characters cannot be told apart. Scan it finer.",
        ("refuse", "keep"),
    ),
    Fault(
        "vertical_line",
        "line taller than wide",
        "The reader turns such a line by 90 degrees before it is read; the training does not. The "
        "policy fix turns it the same way.",
        ("keep", "fix", "refuse"),
        REC,
    ),
    Fault(
        "exif_turned",
        "turned by EXIF",
        "The file says that it must be turned to be upright. Here it is; a label tool or another "
        "library may not have done so. Look whether the text is upright.",
        ("keep", "refuse"),
        REC,
    ),
    Fault(
        "exif_disagreement",
        "labelled on the unturned picture",
        "Points or size belong to the picture before its EXIF rotation. The fix turns the points.",
        ("fix", "refuse", "keep"),
    ),
    Fault(
        "wrong_size",
        "the label claims another picture size",
        "It was drawn on another version of the picture: points may be off. The fix scales them.",
        ("refuse", "fix", "keep"),
    ),
    Fault(
        "duplicate_picture",
        "the same pixels under two names",
        "It counts twice; where labels agree no harm is done, but one part of a split must hold "
        "both.",
        ("keep", "refuse"),
    ),
    Fault(
        "picture_conflict",
        "the same pixels, labelled differently",
        "At most one of the labels is right, and nothing here says which. Look, and mend it.",
        ("refuse", "keep"),
    ),
    Fault(
        "near_conflict",
        "nearly the same picture, another label",
        "The pictures differ no more than two encodings of one, and their labels do: probably one "
        "is wrong.",
        ("keep", "refuse"),
    ),
)

_REGIONS = (
    Fault(
        "too_few_points",
        "outline of fewer than three points",
        "It encloses nothing. Draw the region again.",
        ("refuse",),
    ),
    Fault(
        "too_many_points",
        "outline of more than 2,000 points",
        "No text needs so many: a mask that was traced pixel by pixel. Draw it with fewer.",
        ("refuse",),
    ),
    Fault(
        "not_finite",
        "a coordinate that is no number",
        "NaN or infinity, from a broken export. Draw the region again.",
        ("refuse",),
    ),
    Fault(
        "degenerate_region",
        "outline without area",
        "Points fall together or lie on one line: a stray click. Take it out.",
        ("refuse",),
    ),
    Fault(
        "self_crossing",
        "outline crosses itself",
        "The corners are in the order of a Z: a region without a clear inside. Four corners can "
        "be put in order; more cannot.",
        ("fix", "refuse"),
    ),
    Fault(
        "wrong_order",
        "outline runs counter-clockwise",
        "The label format's order is clockwise from top-left. A crop would be mirrored.",
        ("fix", "refuse", "keep"),
    ),
    Fault(
        "wrong_start",
        "first point is not the top-left one",
        "The first edge is the top of the text: a crop would be turned.",
        ("fix", "refuse", "keep"),
    ),
    Fault(
        "partly_outside",
        "region reaches beyond the picture",
        "There are no pixels to learn from. The fix clips it to the picture.",
        ("fix", "refuse", "keep"),
    ),
    Fault(
        "wholly_outside",
        "region lies beside the picture",
        "Labels of another picture or of another size.",
        ("refuse",),
    ),
    Fault(
        "shrinks_away",
        "region too small for the target map",
        "At the training size its shrunk kernel is empty: the text would count as background.",
        ("refuse", "keep"),
        DET,
    ),
    Fault(
        "duplicate_region",
        "two regions in one place",
        "Drawn twice; the second one adds nothing, and counts as missed text in an evaluation.",
        ("refuse", "keep"),
        DET,
    ),
    Fault(
        "unmarked_ignore",
        "an ignore mark that is not set as one",
        "`###` or `*` stands as text, but the region is not marked as ignored.",
        ("fix", "refuse", "keep"),
        DET,
    ),
    Fault(
        "empty_transcription",
        "region without text",
        "The detector does not need the text; a recognition set cut from these labels does.",
        ("keep", "refuse"),
        DET,
    ),
    Fault(
        "no_region",
        "picture without any region",
        "If it shows text, the detector is taught that text is background. Where it truly shows "
        "none, set the policy keep.",
        ("refuse", "keep"),
        DET,
    ),
    Fault(
        "all_ignored",
        "all regions are ignored",
        "The picture teaches background only.",
        ("keep", "refuse"),
        DET,
    ),
)

_SETS = (
    Fault(
        "leak",
        "text of the validation part",
        "A text seen in training is known by heart: the validation would flatter. It is taken out "
        "of the training part.",
        ("refuse", "keep"),
        REC,
    ),
    Fault(
        "leak_picture",
        "picture of the validation part",
        "The same pixels stand in both parts: the validation would flatter.",
        ("refuse", "keep"),
    ),
    Fault(
        "leak_near_picture",
        "nearly a picture of the validation part",
        "It differs no more than another encoding of it: the validation would flatter.",
        ("refuse", "keep"),
    ),
    Fault(
        "rare_character",
        "character with few examples",
        "It is hardly learnt. Add or synthesise lines that hold it.",
        ("keep",),
        REC,
    ),
    Fault(
        "val_only_character",
        "character validated on, never trained on",
        "Each of its lines tests what the released weights know, not this training.",
        ("keep",),
        REC,
    ),
    Fault(
        "character_imbalance",
        "characters very unevenly spread",
        "The common one is guessed where the picture is unclear. Weight the sources, or add lines.",
        ("keep",),
        REC,
    ),
    Fault(
        "dominant_text",
        "one text makes up much of the set",
        "It is learnt by heart and read into other pictures. Thin it out.",
        ("keep",),
        REC,
    ),
    Fault(
        "unused_characters",
        "characters of the set that no label holds",
        "They keep what the released weights know, and may fade in a long training.",
        ("keep",),
        REC,
    ),
    Fault(
        "mixed_forms",
        "one character in two forms",
        "Full-width and half-width forms both stand in labels. Where the pictures show one form, "
        "the network is punished at random: agree on one.",
        ("keep",),
        REC,
    ),
)

FAULTS: tuple[Fault, ...] = (*_LISTS, *_TEXT, *_PICTURES, *_REGIONS, *_SETS)
"""All kinds, in the order of the documentation."""

FAULT_BY_NAME: dict[str, Fault] = {fault.name: fault for fault in FAULTS}
