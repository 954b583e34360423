"""The frame of the page: two languages, two themes, a phone, a budget, and what axe finds wrong."""

import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.prediction import SENTENCES
from tests.conftest import ROOT, SAMPLES
from tests.page.conftest import DESKTOP, PHONE, Visit
from tests.page.hand import answer, draw, expect_label, violations

WEB = ROOT / "app" / "web"
# All panels together, as browsers get them; what lies on the disk is bounded, too, so that it stays a pleasure to read.
MOST_BYTES, MOST_BYTES_UNPACKED, MOST_REQUESTS, MOST_MILLISECONDS = 150_000, 200_000, 20, 1_000


def texts(page: Page, language: str) -> dict[str, str]:
    told: dict[str, str] = page.evaluate(f"import('/page/words.{language}.js').then((module) => module.default)")
    return told


def test_the_page_speaks_the_browsers_korean(visit: Visit) -> None:
    page = visit.open("#recognise?sample=three-on-paper.jpg", language="ko-KR")

    expect(page.get_by_role("heading")).to_have_text("숫자를 그려 보세요")
    expect(answer(page).locator(".sure")).to_contain_text("확률")
    expect(answer(page).locator(".notices")).to_contain_text("뒤집었습니다")
    assert page.evaluate("document.documentElement.lang") == "ko"


def test_the_language_is_switched_with_all_that_is_there_and_remembered(visit: Visit) -> None:
    page = visit.open()
    draw(page)
    expect_label(page, "7")
    page.get_by_role("button", name="한국어").click()

    expect(page.get_by_role("heading")).to_have_text("숫자를 그려 보세요")
    expect_label(page, "7")
    page.reload()
    expect(page.get_by_role("button", name="English")).to_be_visible()
    expect_label(page, "7")


def test_both_languages_say_the_same_things(visit: Visit) -> None:
    page = visit.open()
    english, korean = texts(page, "en"), texts(page, "ko")

    assert list(english) == list(korean)
    assert all(korean.values())
    assert {key.removeprefix("notice.") for key in english if key.startswith("notice.")} == set(SENTENCES)
    for key, text in english.items():
        named = [sorted(part.split("}")[0] for part in each.split("{")[1:]) for each in (text, korean[key])]
        assert named[0] == named[1] or not text, key


def test_the_theme_follows_the_system_and_the_switch(visit: Visit) -> None:
    page = visit.open(theme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Light or dark").click()
    light = page.evaluate(background)
    page.reload()
    page.wait_for_selector("select:enabled")

    assert (dark, light, page.evaluate(background)) == ("rgb(21, 20, 18)", "rgb(250, 249, 247)", "rgb(250, 249, 247)")


def test_a_phone_shows_board_and_answer_together_and_needs_no_sideways_scroll(visit: Visit) -> None:
    page = visit.open(viewport=PHONE, touch=True)
    page.get_by_role("button", name="Sample: a seven").click()
    expect_label(page, "7")

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    expect(page.locator(".sheet")).to_be_in_viewport(ratio=1)
    expect(answer(page).locator(".head")).to_be_in_viewport(ratio=0.9)
    assert violations(page) == []
    camera = page.get_by_label("Photograph")
    assert camera.get_attribute("capture") == "environment"
    camera.set_input_files(SAMPLES / "two.png")
    expect_label(page, "2")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "link",
    ["", "#recognise?sample=three-on-paper.jpg", "#recognise?model=clothing&with=fashion-mlp&sample=trouser.png"],
    ids=["empty", "answered", "compared"],
)
def test_axe_finds_nothing(visit: Visit, theme: str, link: str) -> None:
    page = visit.open(link, theme=theme)
    if link:
        expect(page.locator("[data-state=answered]").first).to_be_visible()
        page.get_by_text("This very call").first.click()
        expect(page.locator("code").first).not_to_be_empty()

    assert violations(page) == []


def test_reduced_motion_is_respected(visit: Visit) -> None:
    page = visit.open()
    page.emulate_media(reduced_motion="reduce")

    for moving in ("'.sheet'", "'.bar'), '::after'", "'button'"):
        still = (
            f"getComputedStyle(document.querySelector({moving if ')' in moving else moving + ')'}).transitionDuration"
        )
        assert set(page.evaluate(still).split(", ")) == {"0s"}, moving


@pytest.mark.alone
def test_the_page_stays_within_its_budget(visit: Visit) -> None:
    visit.open()  # so that the service has read its files and the browser has begun
    context = visit.browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    visit.requests.clear()
    visit.watch(page)
    page.goto(visit.server.url, wait_until="commit")
    interactive = page.evaluate(
        """new Promise((resolve) => {
            const there = () => document.querySelector("select:enabled");
            const look = () => (there() ? resolve(performance.now()) : setTimeout(look));
            look();
        })"""
    )
    page.wait_for_load_state("networkidle")
    bytes_sent = page.evaluate("performance.getEntries().reduce((sum, each) => sum + (each.encodedBodySize ?? 0), 0)")

    assert interactive <= MOST_MILLISECONDS
    assert len([url for url in visit.requests if not url.startswith("data:")]) <= MOST_REQUESTS
    assert bytes_sent <= MOST_BYTES
    assert sum(path.stat().st_size for path in WEB.rglob("*") if path.is_file()) <= MOST_BYTES_UNPACKED
    everything = [visit.server.url, *(f"{visit.server.url}/page/{path.relative_to(WEB)}" for path in WEB.rglob("*.*"))]
    accepting = [urllib.request.Request(url, headers={"Accept-Encoding": "gzip"}) for url in everything]
    assert sum(len(urllib.request.urlopen(each).read()) for each in accepting) <= MOST_BYTES


def test_a_page_that_was_there_is_not_sent_again(visit: Visit) -> None:
    page = visit.open()
    page.reload()
    page.wait_for_selector("select:enabled")

    sent = page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/page/'))"
        ".map(({ transferSize }) => transferSize)"
    )
    assert len(sent) > 5
    assert max(sent) < 1_000  # heads alone: 304


def test_swagger_ui_uploads_a_file_and_shows_the_answer(visit: Visit) -> None:
    visit.expected.append("Could not find component: JsonSchema")  # Swagger UI's own, of every binary body
    page = visit.browser.new_context(viewport=DESKTOP).new_page()
    visit.watch(page)
    page.goto(f"{visit.server.url}/docs")
    operation = page.locator("#operations-predict-predict_images_predict__model__post")
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("input[type=file]").first.set_input_files(SAMPLES / "seven.png")
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text('"label": "7"')


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshots_for_people_to_look_at(visit: Visit, screenshots: Path, theme: str) -> None:
    names = ("empty", "drawn", "compared", "phone")

    def shot(page: Page, name: str) -> None:
        page.wait_for_load_state("networkidle")
        time.sleep(0.3)  # of the bars' movement
        page.screenshot(path=screenshots / f"{name}-{theme}.png", full_page=True)

    shot(visit.open(theme=theme), "empty")
    page = visit.open(theme=theme)
    draw(page)
    expect_label(page, "7")
    page.get_by_role("button", name="Pixels").click()
    expect(answer(page).locator(".note")).to_contain_text("7")
    shot(page, "drawn")
    compared = visit.open("#recognise?model=clothing&with=fashion-mlp&sample=ankle-boot.png", theme=theme)
    expect_label(compared, "Ankle boot", 1)
    shot(compared, "compared")
    phone = visit.open("#recognise?sample=three-on-paper.jpg", viewport=PHONE, theme=theme, touch=True)
    expect_label(phone, "3")
    shot(phone, "phone")

    assert {path.name for path in screenshots.iterdir()} >= {f"{name}-{theme}.png" for name in names}
