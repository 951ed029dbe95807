"""A report as one HTML file without network; names and labels on it are hostile input."""

import base64
import hashlib
import html
from collections.abc import Iterable

_LONGEST = 600

_STYLE = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#5c6875;--line:#dfe4ea;--accent:#2459c4;
--refuse:#b3261e;--refuse-bg:#fbe9e7;--fix:#7a5200;--fix-bg:#fdf1d6;--keep:#37506b;
--keep-bg:#e8eef5}
@media (prefers-color-scheme:dark){:root{--bg:#11151a;--card:#1a2027;--ink:#e6eaf0;--soft:#9aa7b4;
--line:#2c353f;--accent:#8ab0ff;--refuse:#ff9d94;--refuse-bg:#43211f;--fix:#f2c469;--fix-bg:#3b2f14;
--keep:#a9c3de;--keep-bg:#22303e}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans CJK SC","PingFang SC",
"Microsoft YaHei",sans-serif}
main{max-width:1180px;margin:0 auto;padding:24px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0}
h2{font-size:18px;margin:36px 0 12px}
.sub{color:var(--soft);margin:4px 0 10px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;
margin:20px 0 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tile b{display:block;font-size:24px;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.chips{display:flex;gap:6px;flex-wrap:wrap;justify-content:flex-end}
.chip{border-radius:99px;padding:1px 9px;font-size:12px;white-space:nowrap;
font-variant-numeric:tabular-nums}
.refuse{color:var(--refuse);background:var(--refuse-bg)}
.fix{color:var(--fix);background:var(--fix-bg)}
.keep{color:var(--keep);background:var(--keep-bg)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,270px),1fr));gap:14px}
.case{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden;
display:flex;flex-direction:column}
.shot{background:var(--keep-bg);height:168px;display:flex;align-items:center;
justify-content:center;padding:8px}
.shot img{max-width:100%;max-height:100%;border-radius:3px}
.text{padding:10px 12px 12px;overflow-wrap:anywhere}
.head{display:flex;gap:6px;align-items:center;flex-wrap:wrap;margin-bottom:4px}
.head b{font-size:14px}
.where{color:var(--soft);font-size:12.5px;margin:4px 0 0}
.text p{margin:0;font-size:13.5px}
.rows{display:grid;gap:8px}
.rows .case{border-radius:8px}
[hidden]{display:none!important}
.good{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px}
@media (max-width:520px){main{padding:16px 12px 48px}h1{font-size:22px}}
"""


def document(*, title: str, chinese: str, body: str, style: str = "", script: str = "") -> str:
    """Return a whole page that may load and run nothing but what is in it.

    Args:
        title: heading.
        chinese: what the page is, in Chinese.
        body: HTML below the heading. No ``style`` attributes: the page's policy forbids them.
        style: CSS beside the common one.
        script: JavaScript.
    """
    sheet = _STYLE + style
    allowed = f"script-src {_hash(script)}; " if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(sheet)}; {allowed}"
        "base-uri 'none'; form-action 'none'"
    )
    run = f"<script>{script}</script>\n" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown(title)}</title>
<style>{sheet}</style>
</head>
<body>
<main>
<h1>{shown(title)}</h1>
<p class="sub" lang="zh-CN">{shown(chinese)}</p>
{body}
</main>
{run}</body>
</html>
"""


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Large figures side by side, each (figure, what it is)."""
    inner = "".join(
        f'<div class="tile"><b>{shown(figure)}</b><span>{shown(text)}</span></div>'
        for figure, text in figures
    )
    return f'<div class="tiles">{inner}</div>'


def shown(text: str) -> str:
    """Text for the page: escaped, cut, and with characters that draw nothing as their codes."""
    clean = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    cut = clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"
    return html.escape(cut, quote=True)


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
