"""The panel "News": a text's topic and the words that decide it, as the service tells them."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import PHONE, Visit
from tests.page.hand import violations
from tests.served import Server

READY = ".deciding li"
TOPICS = {
    "business": "Business",
    "entertainment": "Entertainment",
    "politics": "Politics",
    "sport": "Sport",
    "tech": "Technology",
}
MIXED = "The minister told parliament that the election was a trick, for the cameras, on film."


def told(server: Server, path: str, text: str) -> dict[str, Any]:
    body = json.dumps({"texts": [text]}).encode()
    request = urllib.request.Request(f"{server.url}/{path}/news-mlp", body, {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.load(urllib.request.urlopen(request))
    return answer


def write(page: Page, text: str) -> None:
    """And waits for the words that decide."""
    with page.expect_response("**/explain/news-mlp"):
        page.get_by_role("textbox").fill(text)
    expect(page.locator(".paper div")).to_have_text(text)


def marks(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.locator("mark").evaluate_all(
        "marks => marks.map((each) => [each.textContent, each.className])"
    )
    return found


def test_each_example_is_of_its_topic(visit: Visit) -> None:
    page = visit.open("#news", ready=READY)
    labels = json.load(urllib.request.urlopen(f"{visit.server.url}/models/news-mlp"))["card"]["labels"]

    assert list(TOPICS) == labels
    expect(page.locator(".told, .bars").first.locator(".name")).to_have_text(list(TOPICS.values()))
    for topic in TOPICS.values():
        page.get_by_role("button", name=topic).click()
        expect(page.locator(".label")).to_have_text(topic)


def test_topics_and_words_are_what_the_service_tells(visit: Visit) -> None:
    page = visit.open("#news", ready=READY)
    write(page, MIXED)
    expect(page.locator("mark")).not_to_have_count(0)
    [prediction] = told(visit.server, "predict", MIXED)["predictions"]
    parts = told(visit.server, "explain", MIXED)["methods"]["words"]["parts"]
    parts = [part for part in parts if abs(part["fall"]) > 1e-6]

    expect(page.locator(".label")).to_have_text(TOPICS[prediction["label"]])
    percents = page.locator(".bars").first.locator(".value").all_inner_texts()
    assert [float(each.strip("%") or 0) / 100 for each in percents] == pytest.approx(
        prediction["probabilities"], abs=6e-4
    )
    places = sorted((start, end, part["fall"]) for part in parts for start, end in part["places"])
    assert marks(page) == [[MIXED[start:end], "pro" if fall > 0 else "contra"] for start, end, fall in places]
    assert {kind for _, kind in marks(page)} == {"pro", "contra"}
    rows = page.locator(".deciding li")
    expect(rows.locator("span:first-child")).to_have_text([part["name"] for part in parts[:8]])
    figures = [float(each.replace("−", "-")) for each in rows.locator(".value").all_inner_texts()]
    assert figures == pytest.approx([100 * part["fall"] for part in parts[:8]], rel=0.051)


def test_marks_lie_where_the_words_are_whatever_stands_before_them(visit: Visit) -> None:
    page = visit.open("#news", ready=READY)
    write(page, "😀😀\nThe striker")

    expect(page.locator("mark")).to_have_text(["striker"])
    boxes = page.evaluate(
        "['.paper div', '.paper textarea'].map((each) => { const { width, height } = "
        "document.querySelector(each).getBoundingClientRect(); return [width, height]; })"
    )
    assert boxes[0] == boxes[1]


@pytest.mark.alone
def test_while_somebody_writes_little_is_asked_and_at_the_end_what_stands_there(visit: Visit) -> None:
    page = visit.open("#news?text=", ready="textarea")
    page.wait_for_load_state("networkidle")
    visit.requests.clear()
    page.get_by_role("textbox").press_sequentially("The new phone searches the web", delay=20)
    expect(page.locator("mark").first).to_be_visible()

    asked = [url.rpartition("/")[0].rpartition("/")[2] for url in visit.requests]
    assert 1 < asked.count("predict") <= 10
    assert asked.count("explain") == 1
    expect(page.locator(".label")).to_have_text("Technology")
    page.wait_for_url("**/#news?text=The+new+phone+searches+the+web")


def test_a_link_shows_the_same_and_a_language_keeps_the_text(visit: Visit) -> None:
    page = visit.open("#news?text=The+actress+won+the+award.", ready=READY)
    expect(page.get_by_role("textbox")).to_have_value("The actress won the award.")
    expect(page.locator(".label")).to_have_text("Entertainment")
    page.get_by_role("button", name="한국어").click()

    expect(page.locator(".label")).to_have_text("연예")
    expect(page.get_by_role("textbox")).to_have_value("The actress won the award.")


def test_a_long_text_stays_out_of_the_link_and_is_there_when_one_comes_back(visit: Visit) -> None:
    page = visit.open("#news", ready=READY)
    long = "The striker scored in the cup final. " * 200
    write(page, long)
    expect(page.locator("mark").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"#news$"))
    page.get_by_role("link", name="FrozenLake").click()
    page.wait_for_selector(".ice")
    page.get_by_role("link", name="Recognise").click()
    page.wait_for_selector(".sheet")
    page.get_by_role("link", name="News").click()

    expect(page.get_by_role("textbox")).to_have_value(long)


def test_what_is_not_answered_yet_is_kept_by_a_change_of_language(visit: Visit) -> None:
    page = visit.open("#news?text=The+actress+won+the+award.", ready=READY)
    page.route("**/predict/**", lambda route: None)
    page.get_by_role("textbox").fill("The minister")
    page.get_by_role("button", name="한국어").click()

    expect(page.get_by_role("button", name="English")).to_be_visible()
    expect(page.get_by_role("textbox")).to_have_value("The minister")


def test_without_a_text_there_is_no_answer(visit: Visit) -> None:
    page = visit.open("#news", ready=READY)
    page.get_by_role("textbox").fill("")

    expect(page.locator(".label")).to_be_hidden()
    expect(page.get_by_placeholder("A news text in English")).to_be_visible()
    page.wait_for_url("**/#news?text=")
    assert violations(page) == []


def test_unknown_words_and_doubt_are_told(visit: Visit) -> None:
    page = visit.open("#news", ready=READY)
    page.get_by_role("textbox").fill("안녕하세요")

    expect(page.locator(".head")).to_contain_text("It knows none of these words.")
    expect(page.locator(".head")).to_contain_text("The probability is below 0.7")
    expect(page.locator("mark")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_text_that_is_too_long_is_refused_in_words(visit: Visit, tmp_path: Path, theme: str) -> None:
    visit.expected.append("status of 413")
    visit.server = server = Server(tmp_path / "log", PERCEPT_WORKERS="1", PERCEPT_MAX_CHARACTERS="300")
    try:
        page = visit.open("#news", ready=READY, theme=theme)
        page.get_by_role("textbox").fill("goal " * 100)
        expect(page.get_by_role("alert")).to_contain_text("This is too large")
        expect(page.get_by_role("alert")).to_contain_text("300")
        expect(page.locator(".label")).to_be_hidden()
        assert violations(page) == []
        page.get_by_role("textbox").fill("goal")

        expect(page.locator(".label")).to_have_text("Sport")
        expect(page.get_by_role("alert")).to_be_hidden()
    finally:
        visit.leave()
        server.stop()


def test_a_refused_explanation_leaves_the_topic_where_it_is(visit: Visit) -> None:
    visit.expected.append("status of 500")
    page = visit.open("#news", ready=READY)
    page.route("**/explain/**", lambda route: route.fulfill(status=500, json={"title": "slowly"}), times=1)
    page.get_by_role("textbox").fill("The minister promised lower taxes.")
    expect(page.get_by_role("alert")).to_contain_text("slowly")
    expect(page.locator(".label")).to_have_text("Politics")
    expect(page.locator(".label")).to_be_visible()
    page.get_by_role("button", name="Ask again").click()

    expect(page.locator("mark").first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_service_that_goes_away_is_told_and_asked_again(visit: Visit, tmp_path: Path) -> None:
    visit.expected.append("ERR_")
    visit.server = server = Server(tmp_path / "log", PERCEPT_WORKERS="1")
    try:
        page = visit.open("#news", ready=READY)
        server.stop()
        page.get_by_role("textbox").fill("The minister promised lower taxes.")
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
        assert violations(page) == []
        server = Server(tmp_path / "log", server.port, PERCEPT_WORKERS="1")

        expect(page.locator(".label")).to_have_text("Politics")
        expect(page.locator("mark").first).to_be_visible()
    finally:
        visit.leave()
        server.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_picture_is_taken(visit: Visit, screenshots: Path, theme: str) -> None:
    page = visit.open(f"#news?text={MIXED.replace(' ', '+')}", ready=READY, theme=theme)
    page.get_by_text("This very call").click()
    expect(page.locator("code")).to_contain_text("/explain/news-mlp")
    assert violations(page) == []
    page.get_by_text("This very call").click()
    page.screenshot(path=screenshots / f"news-{theme}.png", full_page=True)


def test_a_phone_needs_no_sideways_scroll_and_korean_is_spoken(visit: Visit, screenshots: Path) -> None:
    page = visit.open("#news", ready=READY, viewport=PHONE, touch=True, language="ko-KR")

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    expect(page.locator(".label")).to_have_text("스포츠")
    expect(page.locator(".deciding .hint")).to_contain_text("‘스포츠’ 확률")
    page.screenshot(path=screenshots / "news-phone.png", full_page=True)
