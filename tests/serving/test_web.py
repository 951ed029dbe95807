"""The web page, used in a browser with the real service behind it."""

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pypdfium2
import pytest
from fastapi.routing import APIRoute
from PIL import Image
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

from ocr_pipeline.config.access import AccessConfig
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.serving.access import is_below
from ocr_pipeline.serving.routes import web
from tests.conftest import ExportedPair
from tests.serving.servers import Server, png, ready

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LIMIT_MS = 30_000
Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def server(
    exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("web") / "serve.log"
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with ready(log, *folders) as running:
        yield running


@pytest.fixture(scope="module")
def texts(server: Server) -> list[str]:
    """Lines of the first golden page, as the service reads them; the second has the first one."""
    [page] = server.post(png(golden_pages()[0])).json()["pages"]
    return [line["text"] for line in page["lines"]]


def chromium_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on PATH")
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield chromium
        chromium.close()


@contextmanager
def opened(
    browser: Browser, address: str, routes: dict[str, Any], **options: Any
) -> Iterator[Page]:
    """The page in a context of its own; nothing may fail in it or leave its origin."""
    settings = {"locale": "en-US", "viewport": {"width": 1280, "height": 800}} | options
    context = browser.new_context(**settings, base_url=address)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(LIMIT_MS)
    requests: list[str] = []
    faults: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        # The browser's own line for each answer that is no success is no fault of the page's.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            faults.append(message.text)

    context.on("request", lambda request: requests.append(request.url))
    context.on("console", on_console)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    page = context.new_page()
    for pattern, answer in routes.items():
        page.route(pattern, answer)
    page.goto("/")
    yield page
    context.close()
    assert faults == []
    assert requests
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture
def open_page(server: Server, browser: Browser) -> Iterator[Opened]:
    """Opens the page: ``routes`` are answered by the test, all else by the service."""
    contexts = []

    def open_one(routes: dict[str, Any] | None = None, **options: Any) -> Page:
        address = str(server.client.base_url)
        contexts.append(opened(browser, address.rstrip("/") + "/", routes or {}, **options))
        return contexts[-1].__enter__()

    yield open_one
    for context in contexts:
        context.__exit__(None, None, None)


def picture(name: str = "page.png", *, page: int = 0) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": png(golden_pages()[page])}


NOT_A_PICTURE: FilePayload = {
    "name": "a-file-with-a-name-that-is-much-too-long-to-be-shown-on-a-telephone.txt",
    "mimeType": "text/plain",
    "buffer": b"plain words",
}


def choose(page: Page, *files: FilePayload) -> None:
    page.set_input_files("#files", list(files))


def lines_of(page: Page) -> Locator:
    return page.get_by_role("option")


def boxes_of(page: Page) -> Locator:
    return page.locator(".overlay polygon")


def is_wide(page: Page) -> bool:
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return bool(width > 0)


def problem(status: int, detail: str, **headers: str) -> Callable[[Route], None]:
    said = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
    return lambda route: route.fulfill(
        status=status, json=said, headers=headers, content_type="application/problem+json"
    )


def rectangles(boxes: Locator) -> list[list[float]]:
    """(left, top, right, bottom) of each, px of the window."""
    found: list[list[float]] = boxes.evaluate_all(
        """(all) => all.map((one) => {
            const { left, top, right, bottom } = one.getBoundingClientRect();
            return [left, top, right, bottom];
        })"""
    )
    return found


def assert_boxes_are_where_the_service_says(page: Page, answer: dict[str, Any]) -> None:
    [read] = answer["pages"]
    image = page.locator(".sheet img")
    natural = image.evaluate("(image) => [image.naturalWidth, image.naturalHeight]")
    assert natural == [read["width"], read["height"]]
    [[left, top, right, bottom]] = rectangles(image)
    scale = np.array([(right - left) / read["width"], (bottom - top) / read["height"]])
    for line, box in zip(read["lines"], rectangles(boxes_of(page)), strict=True):
        points = np.array(line["points"]) * scale + (left, top)
        expected = [*points.min(axis=0), *points.max(axis=0)]
        assert box == pytest.approx(expected, abs=1.5)  # the stroke's width


def test_text_and_boxes_of_a_picture_stand_side_by_side(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    choose(page, picture())
    expect(lines_of(page)).to_have_text(texts)
    expect(page.locator("#count")).to_have_text("4 lines")
    assert_boxes_are_where_the_service_says(page, server.post(picture()["buffer"]).json())
    frame = page.locator(".sheet img").bounding_box()
    assert frame is not None
    shown = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=frame))).convert("L"))
    is_ink = shown < 110
    is_boxed = np.zeros_like(is_ink)
    for left, top, right, bottom in rectangles(boxes_of(page)):
        x, y = frame["x"], frame["y"]
        is_boxed[int(top - y) : int(bottom - y) + 1, int(left - x) : int(right - x) + 1] = True
    assert is_ink.sum() > 1000
    assert (is_ink & is_boxed).sum() / is_ink.sum() > 0.97
    assert is_boxed.mean() < 0.6


def test_picture_with_a_turned_sensor_is_shown_upright_as_it_was_read(
    server: Server, open_page: Opened
) -> None:
    lying = Image.fromarray(cv2.rotate(golden_pages()[0], cv2.ROTATE_90_COUNTERCLOCKWISE))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it
    content = io.BytesIO()
    lying.save(content, "JPEG", quality=95, exif=exif)
    page = open_page()
    choose(page, {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": content.getvalue()})
    expect(lines_of(page)).to_have_count(4)
    answer = server.post(content.getvalue()).json()
    assert (answer["pages"][0]["width"], answer["pages"][0]["height"]) == (640, 320)
    assert_boxes_are_where_the_service_says(page, answer)


def test_line_under_the_pointer_is_marked_in_the_picture_and_the_other_way_round(
    open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    choose(page, picture())
    lines_of(page).nth(1).hover()
    expect(page.locator("polygon.pointed")).to_have_attribute("data-line", "1")
    boxes_of(page).nth(2).hover()
    expect(page.locator(".row .pointed")).to_have_text(texts[2])
    boxes_of(page).nth(3).click()
    expect(lines_of(page).nth(3)).to_be_focused()
    expect(page.locator("polygon.chosen")).to_have_attribute("data-line", "3")
    expect(page.locator("[aria-selected=true]")).to_have_text(texts[3])


def test_what_scrolls_under_a_resting_pointer_does_not_count_as_pointed_at(
    open_page: Opened,
) -> None:
    page = open_page(reduced_motion="reduce")
    choose(page, picture())
    boxes_of(page).first.hover()
    expect(page.locator("polygon.pointed")).to_have_attribute("data-line", "0")
    for _ in range(6):  # until the first and the last line are not in sight together
        page.locator("#larger").press("Enter")
    tops = []
    lines_of(page).first.focus()
    for key, line in (("End", "3"), ("Home", "0"), ("End", "3")):
        page.keyboard.press(key)
        expect(page.locator("polygon.chosen")).to_have_attribute("data-line", line)
        expect(page.locator("polygon.chosen")).to_be_in_viewport()
        tops.append(page.locator("#stage").evaluate("(stage) => stage.scrollTop"))
        expect(page.locator("polygon.pointed")).to_have_attribute("data-line", "0")
    assert tops[0] > tops[1] < tops[2]


def test_boxes_of_words_and_characters_are_linked_with_their_places_in_the_text(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    answer = server.client.post(
        "/v1/ocr?words=true", files={"file": ("page", picture()["buffer"])}
    ).json()
    page = open_page()
    choose(page, picture())
    for level in ("Words", "Characters"):
        page.get_by_role("radio", name=level).check()
        parts = [
            part["text"] for line in answer["pages"][0]["lines"] for part in line[level.lower()]
        ]
        expect(boxes_of(page)).to_have_count(len(parts))
        expect(page.locator("[data-part].pointed")).to_have_count(0)
        expect(lines_of(page)).to_have_text(texts)
        boxes_of(page).nth(4).hover()
        expect(page.locator(".said .pointed")).to_have_text(parts[4])
        page.get_by_text(parts[1], exact=True).first.hover()
        expect(page.locator("polygon.pointed")).to_have_count(1)
    page.reload()
    expect(page.locator("[value=characters]")).to_be_checked()


def test_everything_is_done_with_keys(open_page: Opened, texts: list[str]) -> None:
    page = open_page()
    page.on("filechooser", lambda chooser: chooser.set_files([picture()]))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    page.keyboard.press("Enter")
    expect(lines_of(page)).to_have_count(4)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.locator("[role=option]:focus").count():
            break
    for key, line in [("ArrowDown", 1), ("End", 3), ("ArrowDown", 3), ("ArrowUp", 2), ("Home", 0)]:
        page.keyboard.press(key)
        expect(lines_of(page).nth(line)).to_be_focused()
        expect(page.locator("polygon.chosen")).to_have_attribute("data-line", str(line))
    outline = lines_of(page).first.evaluate("(line) => getComputedStyle(line).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == texts[0]
    page.keyboard.press("Escape")
    expect(page.locator("polygon.chosen")).to_have_count(0)
    expect(page.locator("[aria-selected=true]")).to_have_count(0)


def test_a_click_copies_a_line_and_a_button_all_of_them(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    choose(page, picture())
    lines_of(page).nth(1).click()
    expect(page.locator("#toast")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == texts[1]
    page.evaluate("async () => (await import('/web/toast.js')).say('')")
    page.get_by_role("button", name="Copy all").click()
    expect(page.locator("#toast")).to_have_text("Copied")
    text = server.post(picture()["buffer"]).json()["text"]
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_without_a_clipboard_the_old_way_of_copying_is_used(
    server: Server, browser: Browser, open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            Object.defineProperty(navigator, "clipboard", { value: undefined });
            document.addEventListener("copy", () => (window.copied = String(getSelection())));
        }"""
    )
    choose(page, picture())
    lines_of(page).nth(2).click()
    expect(page.locator("#toast")).to_have_text("Copied")
    assert page.evaluate("window.copied") == texts[2]
    expect(lines_of(page).nth(2)).to_be_focused()


def test_both_languages_are_whole_and_the_choice_is_remembered(open_page: Opened) -> None:
    page = open_page(locale="zh-CN")
    root = page.locator("html")
    expect(root).to_have_attribute("lang", "zh-CN")
    expect(page).to_have_title("图片文字识别")
    expect(page.locator("#service")).to_have_text("就绪")
    choose(page, picture())
    expect(page.locator("#count")).to_have_text("4 行")
    assert page.evaluate("async () => (await import('/web/text.js')).untranslated()") == []
    page.get_by_role("button", name="Switch to English").click()
    expect(root).to_have_attribute("lang", "en")
    expect(page.locator("#count")).to_have_text("4 lines")
    expect(page.get_by_role("button", name="Copy all")).to_be_visible()
    page.reload()
    expect(root).to_have_attribute("lang", "en")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def test_every_text_that_the_page_names_exists(open_page: Opened) -> None:
    page = open_page()
    missing = page.evaluate(
        """async () => {
            const { hasText } = await import("/web/text.js");
            const names = ["text", "label", "hint"];
            return names.flatMap((name) =>
                [...document.querySelectorAll(`[data-${name}]`)]
                    .map((element) => element.dataset[name])
                    .filter((key) => !hasText(key)));
        }"""
    )
    assert missing == []


def test_every_answer_that_is_no_success_has_a_title(server: Server, open_page: Opened) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    answers = {
        status
        for path in ("/v1/ocr", "/v1/ocr/batch", "/v1/models")
        for operation in paths[path].values()
        for status in operation["responses"]
        if status != "200"
    }
    assert {"401", "502"} < answers
    page = open_page()
    missing = page.evaluate(
        """async (answers) => {
            const { hasText } = await import("/web/text.js");
            return answers.filter((status) => !hasText(`problem${status}`));
        }""",
        sorted(answers),
    )
    assert missing == []


def test_dark_colours_follow_the_system_until_others_are_chosen(open_page: Opened) -> None:
    page = open_page(color_scheme="dark")

    def is_dark() -> bool:
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return all(int(part) < 60 for part in shade.strip("rgb()").split(","))

    switch = page.locator("#theme")
    expect(switch).to_have_attribute("aria-label", "Colours: as the system")
    assert is_dark()
    switch.click()
    expect(switch).to_have_attribute("aria-label", "Colours: light")
    assert not is_dark()
    switch.click()
    assert is_dark()
    page.emulate_media(color_scheme="light")
    page.reload()
    expect(switch).to_have_attribute("aria-label", "Colours: dark")
    assert is_dark()
    switch.click()
    assert not is_dark()


def test_narrow_window_never_scrolls_sideways(open_page: Opened) -> None:
    page = open_page(viewport={"width": 400, "height": 700}, has_touch=True)
    expect(page.locator("#service")).to_have_attribute("data-state", "ready")
    assert not is_wide(page)
    choose(page, picture(), NOT_A_PICTURE)
    expect(lines_of(page)).to_have_count(4)
    assert not is_wide(page)
    page.locator("#menu summary").click()
    expect(page.get_by_text("Searchable PDF")).to_be_in_viewport()
    assert not is_wide(page)
    page.locator(".open").nth(1).click()
    expect(page.locator("#card[data-state=failed]")).to_be_visible()
    assert not is_wide(page)
    page.set_viewport_size({"width": 320, "height": 600})
    page.locator(".open").first.click()
    assert not is_wide(page)


def test_problem_is_shown_in_plain_words_and_the_next_file_is_read(
    open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    choose(page, NOT_A_PICTURE, picture())
    card = page.locator("#card")
    expect(card.get_by_role("heading")).to_have_text("Not a picture or PDF")
    expect(card.locator(".detail")).to_contain_text("11 bytes")
    expect(card.locator(".status")).to_have_text("Status 415")
    page.get_by_role("button", name="改用中文").click()
    expect(card.get_by_role("heading")).to_have_text("不是图片或 PDF")
    page.get_by_role("button", name="page.png", exact=True).click()
    expect(lines_of(page)).to_have_text(texts)


def hold(page: Page, *files: FilePayload) -> list[Route]:
    """Choose files and look at the first again; gives the requests, which nobody answers."""
    held: list[Route] = []
    page.route("**/v1/ocr?**", lambda route: held.append(route))
    with page.expect_request("**/v1/ocr?**"):
        choose(page, *files)
    page.locator(".open").first.click()
    return held


def test_an_answer_does_not_scroll_a_narrow_window(open_page: Opened) -> None:
    page = open_page(viewport={"width": 400, "height": 300})
    choose(page, picture())
    expect(lines_of(page)).to_have_count(4)
    held = hold(page, picture("second.png"))
    page.evaluate("scrollTo(0, 150)")
    assert page.evaluate("scrollY") == 150
    held.pop().continue_()
    expect(page.locator(".open .done")).to_have_count(2)
    assert page.evaluate("scrollY") == 150


def test_an_answer_leaves_the_focus_and_a_pressed_button(
    open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    choose(page, picture())
    expect(lines_of(page)).to_have_count(4)
    held = hold(page, picture("second.png", page=1), picture("third.png"))
    page.get_by_role("button", name="second.png, Reading").hover()
    page.mouse.down()
    page.get_by_role("button", name="Remove second.png").focus()
    with page.expect_request("**/v1/ocr?**"):
        held.pop().continue_()
    expect(page.locator(".open .done")).to_have_count(2)
    expect(page.get_by_role("button", name="Remove second.png")).to_be_focused()
    page.mouse.up()
    expect(lines_of(page)).to_have_text(texts[:1])


def test_a_file_that_is_added_is_in_sight_in_the_list(open_page: Opened) -> None:
    page = open_page(viewport={"width": 400, "height": 700}, reduced_motion="reduce")
    for number in range(4):
        choose(page, {**NOT_A_PICTURE, "name": f"a-file-with-a-long-name-{number}.txt"})
    last = page.get_by_role("button", name="Remove a-file-with-a-long-name-3.txt")
    expect(last).to_be_in_viewport()
    expect(page.locator(".open").first).not_to_be_in_viewport()


def test_a_service_that_is_away_is_named_and_asked_again(
    open_page: Opened, texts: list[str]
) -> None:
    page = open_page()
    page.route("**/v1/ocr?**", lambda route: route.abort())
    choose(page, picture())
    expect(page.locator("#card h2")).to_have_text("The service cannot be reached")
    page.unroute("**/v1/ocr?**")
    page.get_by_role("button", name="Try again").click()
    expect(lines_of(page)).to_have_text(texts)


@pytest.mark.parametrize("way", ["button", "key"])
def test_cancelling_drops_the_request(open_page: Opened, texts: list[str], way: str) -> None:
    failed: list[str | None] = []
    page = open_page({"**/v1/ocr?**": lambda route: None}, reduced_motion="reduce")
    page.on("requestfailed", lambda request: failed.append(request.failure))
    with page.expect_request("**/v1/ocr?**"):
        choose(page, picture())
    card = page.locator("#card")
    expect(card.get_by_role("heading")).to_have_text("Reading page.png")
    motion = card.locator("progress").evaluate("(bar) => getComputedStyle(bar).animationName")
    assert motion == "none"
    with page.expect_event("requestfailed"):
        if way == "button":
            card.get_by_role("button", name="Cancel").click()
        else:
            page.keyboard.press("Escape")
    assert failed == ["net::ERR_ABORTED"]
    expect(card.get_by_role("heading")).to_have_text("Cancelled")
    page.unroute("**/v1/ocr?**")
    card.get_by_role("button", name="Try again").click()
    expect(lines_of(page)).to_have_text(texts)


def test_nothing_is_sent_while_the_models_load(open_page: Opened, texts: list[str]) -> None:
    state = {"status": "loading", "detail": ""}
    sent: list[str] = []
    page = open_page({"**/readyz": lambda route: route.fulfill(status=503, json=state)})
    page.on("request", lambda request: sent.append(request.url))
    expect(page.locator("#service")).to_have_text("Loading models")
    choose(page, picture())
    expect(page.locator("#card .detail")).to_contain_text("loads its models")
    assert not [url for url in sent if "/v1/" in url]
    state["status"] = "ready"
    expect(lines_of(page)).to_have_text(texts)
    expect(page.locator("#service")).to_have_text("Ready")


def test_a_service_that_has_failed_is_not_called_busy(open_page: Opened) -> None:
    state = {"status": "failed", "detail": "no such model"}
    page = open_page({"**/readyz": lambda route: route.fulfill(status=503, json=state)})
    expect(page.locator("#service")).to_have_text("Failed")
    choose(page, picture())
    expect(page.locator("#card h2")).to_have_text("The service failed")
    expect(page.locator("#card .detail")).to_have_text("no such model")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(open_page: Opened, texts: list[str], status: int) -> None:
    busy = problem(status, "17 requests wait", **{"Retry-After": "0"})
    page = open_page()
    page.route("**/v1/ocr?**", busy, times=3)
    choose(page, picture())
    expect(lines_of(page)).to_have_text(texts)


def guarded(keys: list[str | None]) -> Callable[[Route, Request], None]:
    """Let in who has the right key, and keep what was sent."""

    def handle(route: Route, request: Request) -> None:
        keys.append(request.headers.get("authorization"))
        if keys[-1] == "Bearer right":
            route.continue_()
        else:
            problem(401, "send a key")(route)

    return handle


def test_the_key_that_the_service_wants_is_asked_for_and_kept_in_this_tab_only(
    open_page: Opened, texts: list[str]
) -> None:
    keys: list[str | None] = []
    page = open_page({"**/v1/ocr?**": guarded(keys)})
    choose(page, picture(), picture("second.png", page=1))
    field = page.get_by_role("textbox", name="API key")
    expect(page.locator("#card .detail")).to_have_text("send a key")
    field.fill("wrong")
    field.press("Enter")
    expect(page.locator("#card .detail")).to_have_text("The service does not accept this key.")
    assert keys == [None, "Bearer wrong"]
    field.fill("right")
    page.get_by_role("button", name="Use this key").click()
    expect(lines_of(page)).to_have_text(texts)
    page.get_by_role("button", name="second.png", exact=True).click()
    expect(lines_of(page)).to_have_text(texts[:1])
    assert keys == [None, "Bearer wrong", "Bearer right", "Bearer right"]
    stored = page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage)]")
    assert "right" in stored[0]
    assert "right" not in stored[1]
    assert page.context.cookies() == []


def test_a_key_that_no_header_can_carry_is_neither_taken_nor_sent(
    open_page: Opened, texts: list[str]
) -> None:
    keys: list[str | None] = []
    page = open_page({"**/v1/ocr?**": guarded(keys)})
    page.evaluate("sessionStorage.setItem('ocr.key', '钥匙')")
    page.reload()
    choose(page, picture())
    field = page.get_by_role("textbox", name="API key")
    for key in ("ключ", "two words"):
        field.fill(key)
        field.press("Enter")
        said = field.evaluate("(field) => field.validationMessage")
        assert said == "A key has Latin letters, digits and signs only, and no spaces."
    field.fill(" right ")
    field.press("Enter")
    expect(lines_of(page)).to_have_text(texts)
    assert keys == [None, "Bearer right"]


def two_pages(server: Server) -> list[dict[str, Any]]:
    """What /v1/ocr/batch says of a file with two pages."""
    files = [("files", ("page", png(page))) for page in golden_pages()]
    answer = server.client.post("/v1/ocr/batch?words=true&picture=true", files=files)
    pages = [json.loads(line) for line in answer.text.splitlines()]
    places = {"file": "two.pdf", "index": 0, "page_count": 2}
    return [page | places | {"page": number} for number, page in enumerate(pages, start=1)]


def answer_of(lines: list[dict[str, Any]]) -> Callable[[Route], None]:
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return lambda route: route.fulfill(body=body, content_type="application/x-ndjson")


def document(kind: str) -> FilePayload:
    """The two golden pages as a TIFF, or as a PDF that is drawn at their own size."""
    first, second = (Image.fromarray(page) for page in golden_pages())
    content = io.BytesIO()
    first.save(content, kind, save_all=True, append_images=[second], resolution=200, quality=95)
    name = f"two.{kind.lower()}"
    return {"name": name, "mimeType": KINDS[kind], "buffer": content.getvalue()}


KINDS = {"PDF": "application/pdf", "TIFF": "image/tiff"}


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_a_file_are_turned_by_buttons_and_keys(
    open_page: Opened, texts: list[str], kind: str
) -> None:
    page = open_page()
    choose(page, document(kind))
    number = page.locator("#page-number")
    expect(number).to_have_text("1 / 2")
    expect(lines_of(page)).to_have_text(texts)
    expect(page.get_by_role("button", name="Previous page")).to_be_disabled()
    page.get_by_role("button", name="Next page").click()
    expect(number).to_have_text("2 / 2")
    expect(lines_of(page)).to_have_text(texts[:1])
    assert page.locator(".sheet img").evaluate("(image) => image.naturalWidth") == 480
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    lines_of(page).first.focus()
    page.keyboard.press("PageUp")
    expect(number).to_have_text("1 / 2")
    expect(lines_of(page).first).to_be_focused()
    page.get_by_role("button", name="Copy all").click()
    expect(page.locator("#toast")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "\n".join(texts) + "\n\n" + texts[0]


def test_page_that_cannot_be_read_says_why_and_the_others_are_shown(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    first, second = two_pages(server)
    said = {"type": "about:blank", "title": "Damaged", "status": 422, "detail": "half a page"}
    refused = {"file": "two.pdf", "index": 0, "page": 1, "error": said}
    page = open_page({"**/v1/ocr/batch?**": answer_of([refused, second])})
    choose(page, picture("two.pdf"))
    expect(page.locator("#lines")).to_contain_text("The file cannot be read · half a page")
    page.get_by_role("button", name="Next page").click()
    expect(lines_of(page)).to_have_text(texts[:1])
    whole = refused | {"page": None}
    page.route("**/v1/ocr/batch?**", answer_of([whole]))
    choose(page, picture("three.pdf"))
    expect(page.locator("#card .detail")).to_have_text("half a page")
    assert first["page_count"] == 2


def test_pages_of_an_answer_that_was_cut_off_are_kept_and_the_loss_is_told(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    page = open_page({"**/v1/ocr/batch?**": answer_of(two_pages(server)[:1])})
    choose(page, picture("two.pdf"))
    expect(page.locator("#strip p")).to_contain_text("Not read to the end · The service")
    expect(lines_of(page)).to_have_text(texts)
    page.route("**/v1/ocr/batch?**", answer_of([]))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#card h2")).to_have_text("The service cannot be reached")
    page.route("**/v1/ocr/batch?**", answer_of(two_pages(server)))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#strip")).to_be_hidden()
    expect(page.get_by_role("button", name="Next page")).to_be_enabled()


def test_downloads(server: Server, open_page: Opened, texts: list[str]) -> None:
    page = open_page()
    choose(page, picture())
    expect(lines_of(page)).to_have_count(4)
    answer = server.client.post(
        "/v1/ocr?words=true", files={"file": ("page", picture()["buffer"])}
    ).json()
    saved: dict[str, str] = {}
    for label in ("Text (.txt)", "JSON (.json)", "hOCR (.hocr)", "ALTO (.xml)"):
        page.locator("#menu summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        saved[download.value.suggested_filename] = Path(download.value.path()).read_text("utf-8")
    assert list(saved) == ["page.txt", "page.json", "page.hocr", "page.xml"]
    assert saved["page.txt"] == "\n".join(texts) + "\n"
    told = json.loads(saved["page.json"])
    for one in (told, answer):
        one["pages"][0].pop("milliseconds")
    assert told == answer
    for output, name in (("hocr", "page.hocr"), ("alto", "page.xml")):
        asked = server.client.post(
            "/v1/ocr", params={"output": output}, files={"file": ("page", picture()["buffer"])}
        )
        assert without_times(saved[name]) == without_times(asked.text)
    page.locator("#menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Searchable PDF").click()
    assert download.value.suggested_filename == "page.pdf"
    with pypdfium2.PdfDocument(download.value.path()) as document:
        [only] = document
        assert only.get_textpage().get_text_range().split() == " ".join(texts).split()


def without_times(document: str) -> list[str]:
    return [line for line in document.splitlines() if "ateTime" not in line]


def test_download_has_the_pages_that_were_read(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    _, second = two_pages(server)
    said = {"type": "about:blank", "title": "Damaged", "status": 422, "detail": "half a page"}
    refused = {"file": "two.pdf", "index": 0, "page": 1, "error": said}
    page = open_page({"**/v1/ocr/batch?**": answer_of([refused, second])})
    choose(page, document("PDF"))
    expect(page.get_by_role("button", name="Next page")).to_be_enabled()
    page.locator("#menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Searchable PDF").click()
    with pypdfium2.PdfDocument(download.value.path()) as made:
        [only] = made
        assert only.get_textpage().get_text_range().split() == texts[0].split()
    choices = page.evaluate(
        """async () => {
            const { pagesRead } = await import("/web/page.js");
            const pages = (...numbers) => numbers.map((page) => ({ page }));
            const all = [pages(1), pages(1, 2, 3), pages(1, 2, 4, 6, 7, 9), pages()];
            return all.map(pagesRead);
        }"""
    )
    assert choices == ["1", "1-3", "1-2,4,6-7,9", ""]
    page.locator("#menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    told = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert told["page_count"] == 2
    assert [one["page"] for one in told["pages"]] == [1, 2]


def test_download_that_fails_says_why(open_page: Opened) -> None:
    page = open_page({"**/v1/ocr?output=pdf&**": problem(504, "not read in time")})
    choose(page, picture())
    expect(lines_of(page)).to_have_count(4)
    page.locator("#menu summary").click()
    page.get_by_role("button", name="Searchable PDF").click()
    toast = page.locator("#toast")
    expect(toast).to_contain_text("It took too long · not read in time")
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_be_hidden()


def test_lines_below_the_threshold_are_marked_and_visited(
    server: Server, open_page: Opened, texts: list[str]
) -> None:
    answer = server.client.post(
        "/v1/ocr?words=true", files={"file": ("page", picture()["buffer"])}
    ).json()["pages"][0]
    for line in answer["lines"]:
        for part in (line, *line["words"], *line["characters"]):
            part["confidence"] = 0.95
    answer["lines"][1]["confidence"] = 0.618
    answer["lines"][3]["characters"][0]["confidence"] = 0.3
    whole = {"text": answer["text"], "page_count": 1, "pages": [answer], "models": {}}
    page = open_page({"**/v1/ocr?**": lambda route: route.fulfill(json=whole)})
    choose(page, picture())
    marked = page.locator("[role=option].doubtful")
    expect(marked).to_contain_text(texts[1])
    expect(marked.locator(".figure")).to_have_text("61%")
    expect(page.locator("polygon.doubtful")).to_have_attribute("data-line", "1")
    expect(page.locator(".said .doubtful")).to_have_text("6")
    doubts = page.get_by_role("button", name="2 to check")
    for line in (1, 3, 1):
        doubts.click()
        expect(lines_of(page).nth(line)).to_be_focused()
    page.get_by_label("Check below").fill("60")
    expect(marked).to_have_count(0)
    expect(page.get_by_role("button", name="1 to check")).to_be_visible()
    page.reload()
    expect(page.locator("#threshold")).to_have_value("60")


def test_dropped_and_pasted_pictures_are_read(open_page: Opened, texts: list[str]) -> None:
    page = open_page()
    data = base64.b64encode(picture()["buffer"]).decode()
    files = page.evaluate_handle(
        """(data) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        data,
    )
    page.dispatch_event("#start", "dragover", {"dataTransfer": files})
    expect(page.get_by_text("Drop to read")).to_be_visible()
    page.dispatch_event("#start", "drop", {"dataTransfer": files})
    expect(page.get_by_text("Drop to read")).to_be_hidden()
    expect(lines_of(page)).to_have_text(texts)
    page.evaluate(
        """(clipboardData) => document.body.dispatchEvent(
            new ClipboardEvent("paste", { clipboardData, bubbles: true }))""",
        files,
    )
    expect(page.locator(".open .done")).to_have_count(2)
    page.get_by_role("button", name="Remove dropped.png").first.click()
    expect(page.locator(".open")).to_have_count(1)
    page.get_by_role("link", name="Start over").click()
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()


def test_zoom_keeps_boxes_on_the_picture(server: Server, open_page: Opened) -> None:
    page = open_page()
    choose(page, picture())
    expect(lines_of(page)).to_have_count(4)
    answer = server.post(picture()["buffer"]).json()
    page.get_by_role("button", name="Actual size").click()
    expect(page.locator("#full")).to_have_text("100%")
    assert_boxes_are_where_the_service_says(page, answer)
    page.locator("#stage").focus()
    page.keyboard.press("+")
    expect(page.locator("#full")).to_have_text("125%")
    page.keyboard.down("Control")
    page.locator("#stage").hover()
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(page.locator("#full")).to_have_text("156%")
    assert_boxes_are_where_the_service_says(page, answer)
    page.keyboard.press("0")
    expect(page.locator("#fit")).to_have_attribute("aria-pressed", "true")


def test_a_page_as_high_as_its_pane_does_not_flicker_where_scrollbars_take_room(
    server: Server, browser: Browser
) -> None:
    shown = server.client.post("/v1/ocr?picture=true", files={"file": picture()["buffer"]}).json()
    answer = {"**/v1/ocr?**": lambda route: route.fulfill(json=shown)}
    switches = {"args": SWITCHES, "ignore_default_args": ["--hide-scrollbars"]}
    address = str(server.client.base_url).rstrip("/") + "/"
    with (
        browser.browser_type.launch(executable_path=chromium_path(), **switches) as chromium,
        opened(chromium, address, answer) as page,
    ):
        choose(page, picture())
        expect(lines_of(page)).to_have_count(4)
        room, height = page.locator("#stage").evaluate(
            "(stage) => [stage.clientWidth - 32, stage.clientHeight - 32]"  # without its padding
        )
        # Just too high: with a scrollbar beside it, which makes it smaller, it would not be.
        shown["pages"][0] |= {"width": 2 * room, "height": 2 * (height + 5), "lines": []}
        choose(page, picture("second.png"))
        expect(page.locator("#count")).to_have_text("0 lines")
        widths = page.evaluate(
            """async () => {
                const found = new Set();
                for (let frame = 0; frame < 30; frame++) {
                    await new Promise(requestAnimationFrame);
                    found.add(document.querySelector("#stage").clientWidth);
                }
                return [...found];
            }"""
        )
        assert len(widths) == 1


def test_page_is_served_under_a_strict_policy_and_only_its_own_files(server: Server) -> None:
    get = server.client.get
    policy = get("/").headers["content-security-policy"]
    sources = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for kind in ("script-src", "style-src", "connect-src"):
        assert sources.get(kind, sources["default-src"]) == "'self'"
    assert sources["img-src"] == "'self' blob: data:"
    assert sources["frame-ancestors"] == "'none'"
    types = {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".svg": "image/svg+xml",
    }
    for file in (Path(web.__file__).parents[1] / "web").iterdir():
        path = "/" if file.name == "index.html" else f"/web/{file.name}"
        answer = get(path)
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == types[file.suffix]
        assert_revalidates(server.client, path, answer)
    for path in ("/web/", "/web/index.html", "/web/x.js", "/web/..%2froutes%2fweb.py"):
        assert get(path).status_code == 404, path
    paths = get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/web")]


def test_the_page_itself_needs_no_key() -> None:
    for route in web.web_routes().routes:
        assert isinstance(route, APIRoute)
        assert is_below({"path": route.path}, AccessConfig().open_paths)


def assert_revalidates(client: httpx.Client, path: str, answer: httpx.Response) -> None:
    tag = answer.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = client.get(path, headers={"If-None-Match": known})
        assert (same.status_code, same.content) == (304, b""), known
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))
