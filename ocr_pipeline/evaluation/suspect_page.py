"""The page of suspect labels: the pictures, what is labelled and what is read, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ocr_pipeline.evaluation.suspects import Suspect
from ocr_pipeline.ops.web_page import document, shown, tiles

_STYLE = """
.sub{overflow-wrap:anywhere}
.shot{height:112px}
.shot img{max-height:96px}
dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:2px 10px;margin:0}
dt{color:var(--soft);font-size:12.5px;padding-top:3px}
dd{margin:0;font:17px/1.4 ui-monospace,Consolas,"Noto Sans Mono CJK SC",monospace;
white-space:pre-wrap}
del,ins{text-decoration:none;border-radius:3px}
del{color:var(--refuse);background:var(--refuse-bg)}
ins{color:var(--accent);background:var(--keep-bg)}
.text dl+p{margin-top:6px}
.case .where{font-size:12px}
"""


@dataclass(frozen=True)
class Card:
    """One suspect on the page.

    Attributes:
        suspect: what was found.
        picture: data URI; None: it cannot be shown.
        name: of the picture in the folder.
    """

    suspect: Suspect
    picture: str | None
    name: str


def page(cards: Sequence[Card], *, samples: int, differing: int, title: str) -> str:
    """The whole page.

    Args:
        cards: worst first.
        samples: labels that were looked at.
        differing: labels that were read differently.
        title: what was looked at with what.
    """
    figures = [(samples, "labels"), (differing, "read differently"), (len(cards), "listed here")]
    body = f'<div class="grid">{"".join(_case(at, card) for at, card in enumerate(cards, 1))}</div>'
    if not cards:
        body = '<p class="good">None: every label is what the model reads.</p>'
    return document(
        title="Suspect labels",
        chinese="可疑标注，最可疑的在前",
        body=f'<p class="sub">{shown(title)}</p>'
        f"{tiles((f'{number:,}', text) for number, text in figures)}"
        f"<h2>Worst first</h2>{body}",
        style=_STYLE,
    )


def _case(rank: int, card: Card) -> str:
    suspect = card.suspect
    label, read = _marked(suspect.sample.text, suspect.read)
    upside = " upside-down" if suspect.turned else ""
    picture = ""
    if card.picture is not None:
        alt = shown(suspect.sample.image)
        picture = f'<div class="shot"><img src="{card.picture}" alt="{alt}" loading="lazy"></div>'
    return (
        f'<article class="case">{picture}<div class="text"><dl>'
        f"<dt>label</dt><dd><bdi>{label}</bdi></dd>"
        f"<dt>read{upside}</dt><dd><bdi>{read}</bdi></dd></dl>"
        f"<p><bdi>{shown(suspect.reason())}</bdi></p>"
        f'<p class="where">{rank} · score {suspect.score:.1f} · {shown(card.name)}<br>'
        f"<bdi>{shown(suspect.place)}</bdi></p></div></article>"
    )


def _marked(label: str, read: str) -> tuple[str, str]:
    """Both texts with what differs marked."""
    left, right = [], []
    for kind, a, b, c, d in SequenceMatcher(None, label, read, autojunk=False).get_opcodes():
        one, two = shown(label[a:b]), shown(read[c:d])
        left.append(one if kind == "equal" or not one else f"<del>{one}</del>")
        right.append(two if kind == "equal" or not two else f"<ins>{two}</ins>")
    return "".join(left) or "<del>(empty)</del>", "".join(right) or "<ins>(nothing)</ins>"
