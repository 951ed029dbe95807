"""The page of a check report: one file without network; labels in it are hostile input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocr_pipeline.config.faults import Action
from ocr_pipeline.ops.web_page import document, shown, tiles
from ocr_pipeline.preprocess.faults import Finding

_DONE: dict[Action, str] = {"refuse": "refused", "fix": "fixed", "keep": "kept"}
_PARTS = {"train": "training part", "val": "validation part"}

_STYLE = """
.kinds{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.kind{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:4px 16px;width:100%;text-align:left;
border:0;border-top:1px solid var(--line);background:none;color:inherit;font:inherit;
padding:10px 14px;cursor:pointer}
.kind:first-child{border-top:0}
.kind:hover,.kind[aria-pressed=true]{background:var(--keep-bg)}
.kind:focus-visible,select:focus-visible,input:focus-visible{outline:2px solid var(--accent);
outline-offset:-2px}
.kind strong{font-weight:600}
.kind code{color:var(--soft);margin-left:6px}
.kind .why{grid-column:1/-1;color:var(--soft);font-size:13px}
.bar{position:sticky;top:0;z-index:1;background:var(--bg);display:flex;flex-wrap:wrap;gap:8px;
align-items:center;padding:10px 0}
select,input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:6px 10px;min-width:0;max-width:100%}
input{flex:1 1 180px}
.bar output{color:var(--soft);font-size:13px;flex:0 0 auto}
.hint{margin-top:6px!important}
.hint bdi{font-family:ui-monospace,Consolas,monospace;background:var(--keep-bg);
border-radius:4px;padding:0 5px}
.chars{display:flex;flex-wrap:wrap;gap:6px}
.chars span{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:1px 8px;
font-size:13px}
@media (max-width:520px){.kind{grid-template-columns:1fr}.chips{justify-content:flex-start}
select{flex:1 1 45%}.bar output{flex:1 0 100%}}
"""

_SCRIPT = """
(function(){
var fault=document.getElementById('fault'),action=document.getElementById('action'),
words=document.getElementById('words'),out=document.getElementById('shown');
if(!fault)return;
var cases=[].slice.call(document.querySelectorAll('[data-fault]')),
kinds=[].slice.call(document.querySelectorAll('.kind'));
function apply(){var n=0,w=words.value.toLowerCase();
cases.forEach(function(c){var ok=(!fault.value||c.dataset.fault===fault.value)
&&(!action.value||c.dataset.action===action.value)
&&(!w||c.textContent.toLowerCase().indexOf(w)>=0);c.hidden=!ok;if(ok)n++;});
kinds.forEach(function(k){k.setAttribute('aria-pressed',String(k.value===fault.value));});
['pictures','rows'].forEach(function(id){var s=document.getElementById(id);
if(s)s.hidden=!s.querySelector('[data-fault]:not([hidden])');});
out.textContent=n+' of '+cases.length+' shown';}
kinds.forEach(function(k){k.addEventListener('click',function(){
fault.value=fault.value===k.value?'':k.value;apply();
if(fault.value)document.getElementById('cases').scrollIntoView({behavior:'smooth'});});});
[fault,action].forEach(function(e){e.addEventListener('change',apply);});
words.addEventListener('input',apply);apply();})();
"""


@dataclass(frozen=True)
class Card:
    """One finding on the page.

    Attributes:
        finding: what was found.
        picture: data URI; None: it stands in the list without a picture.
    """

    finding: Finding
    picture: str | None


def page(summary: Mapping[str, Any], cards: Sequence[Card], *, total: int, title: str) -> str:
    """The whole page.

    Args:
        summary: as in ``report.json``, without the findings.
        cards: findings to show.
        total: findings in all.
        title: of the set; may be empty.
    """
    name = f"Dataset check: {title}" if title else "Dataset check"
    return document(
        title=name,
        chinese=f"数据集检查报告 · {_chinese_task(summary)}",
        body=f"{_tiles(summary)}\n{_body(summary, cards, total)}",
        style=_STYLE,
        script=_SCRIPT,
    )


def _chinese_task(summary: Mapping[str, Any]) -> str:
    return "文字识别" if summary["task"] == "rec" else "文字检测"


def _tiles(summary: Mapping[str, Any]) -> str:
    figures = [(summary["labels"], "labels looked at")]
    figures += [
        (count, f"taken, {_PARTS.get(split, split)}") for split, count in summary["taken"].items()
    ]
    figures += [(summary["refused"], "refused"), (summary["fixed"], "fixed and taken")]
    return tiles((f"{number:,}", text) for number, text in figures)


def _body(summary: Mapping[str, Any], cards: Sequence[Card], total: int) -> str:
    if not total:
        return '<h2>Findings</h2><p class="good">None: every label can be trained on.</p>'
    more = f" {len(cards):,} of {total:,} are on this page, all are in report.json."
    pictured = [card for card in cards if card.picture]
    plain = [card for card in cards if not card.picture]
    return f"""<h2>Kinds of faults</h2>
<p class="sub">A click shows the cases of one kind.{more if len(cards) < total else ""}</p>
<div class="kinds">{"".join(_kind(summary, name) for name in summary["counts"])}</div>
{_unknown(summary)}
<h2 id="cases">Cases</h2>
{_bar(summary)}
<section id="pictures"><div class="grid">{"".join(map(_case, pictured))}</div></section>
<section id="rows"><h2>Without a picture</h2>
<div class="rows">{"".join(map(_case, plain))}</div></section>"""


def _kind(summary: Mapping[str, Any], name: str) -> str:
    fault = summary["faults"][name]
    return (
        f'<button type="button" class="kind" value="{shown(name)}" aria-pressed="false">'
        f"<span><strong>{shown(fault['title'])}</strong><code>{shown(name)}</code></span>"
        f'<span class="chips">{_chips(summary["counts"][name])}</span>'
        f'<span class="why">{shown(fault["explanation"])}</span></button>'
    )


def _chips(counts: Mapping[str, int]) -> str:
    return "".join(
        f'<span class="chip {action}">{counts[action]:,} {done}</span>'
        for action, done in _DONE.items()
        if counts[action]
    )


def _unknown(summary: Mapping[str, Any]) -> str:
    unknown = list(summary["unknown_characters"].items())
    if not unknown:
        return ""
    spans = "".join(
        f"<span><bdi>{shown(char)}</bdi> {ord(char[0]):04X} × {count:,}</span>"
        for char, count in unknown[:200]
    )
    return f'<h2>Characters outside the character set</h2><div class="chars">{spans}</div>'


def _bar(summary: Mapping[str, Any]) -> str:
    faults = "".join(
        f'<option value="{shown(name)}">{shown(summary["faults"][name]["title"])}</option>'
        for name in summary["counts"]
    )
    actions = "".join(f'<option value="{a}">{done}</option>' for a, done in _DONE.items())
    return (
        '<div class="bar">'
        f'<select id="fault" aria-label="fault"><option value="">all faults</option>{faults}'
        f'</select><select id="action" aria-label="action"><option value="">all actions</option>'
        f'{actions}</select><input id="words" type="search" placeholder="path or text" '
        'aria-label="path or text"><output id="shown"></output></div>'
    )


def _case(card: Card) -> str:
    finding = card.finding
    picture = ""
    if card.picture:
        picture = (
            f'<div class="shot"><img src="{card.picture}" alt="{shown(finding.image)}" '
            'loading="lazy"></div>'
        )
    hint = ""
    if finding.suggestion is not None:
        hint = f'<p class="hint">suggestion: <bdi>{shown(finding.suggestion)}</bdi></p>'
    where = shown(finding.place or _PARTS[finding.split])
    return (
        f'<article class="case" data-fault="{shown(finding.fault)}" '
        f'data-action="{finding.action}">{picture}<div class="text"><div class="head">'
        f'<b>{shown(finding.fault)}</b><span class="chip {finding.action}">'
        f"{_DONE[finding.action]}</span></div><p><bdi>{shown(finding.detail)}</bdi></p>{hint}"
        f'<p class="where"><bdi>{where}</bdi></p></div></article>'
    )
