import base64
import hashlib
import re

from ocr_pipeline.ops.web_page import document, shown, tiles


def test_text_is_escaped_cut_and_visible() -> None:
    assert shown("<b a=\"1\" c='2'>&") == "&lt;b a=&quot;1&quot; c=&#x27;2&#x27;&gt;&amp;"
    assert shown("a\u202eb\x00") == "a\\u202eb\\u0000"
    assert shown("票据") == "票据"
    assert shown("x" * 700) == f"{'x' * 600}…"


def test_a_page_allows_its_own_style_and_script_only() -> None:
    page = document(title="<t>", chinese="报告", body="<p>b</p>", style="p{}", script="f()")
    (sheet,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert sheet.endswith("p{}")
    for content, kind in ((sheet, "style"), ("f()", "script")):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page
    assert "<h1>&lt;t&gt;</h1>" in page


def test_a_page_without_script_allows_none() -> None:
    page = document(title="t", chinese="", body="")
    assert "script" not in page
    assert "default-src 'none'" in page


def test_tiles_hold_text() -> None:
    assert tiles([("1 < 2", "a & b")]).count("&lt;") == 1
