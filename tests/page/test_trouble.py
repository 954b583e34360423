"""The page when something fails, is slow, or is overtaken by what somebody does meanwhile."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.conftest import SAMPLES
from tests.page.conftest import PHONE, Visit
from tests.page.hand import ONE, Held, answer, bring, draw, expect_label, violations

PAPER = (SAMPLES / "three-on-paper.jpg").read_bytes()


def test_a_panel_that_cannot_be_loaded_is_told_and_loaded_when_the_service_is_back(
    visit: Visit, restart: Callable[[], None]
) -> None:
    page = visit.open()
    draw(page)
    expect_label(page, "7")
    visit.server.stop()
    page.get_by_role("link", name="Inside").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    restart()

    expect(page.get_by_text("It answers 7.")).to_be_visible()
    expect(page.locator("#panel")).to_be_focused()


def test_a_link_is_not_written_over_by_the_panel_that_one_leaves(visit: Visit) -> None:
    page = visit.open("#lake", ready=".ice [data-sign]")
    held = Held(page, "**/page/svm.js")
    page.evaluate("() => { location.hash = 'points?of=SVM&model=moons-svm&at=1_1'; }")
    page.get_by_role("radio", name="Row 3, column 2").check()
    page.wait_for_timeout(500)
    held.release(page)

    expect(page.get_by_role("button", name="moons-svm")).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile("of=SVM.*at=1_1"))


def test_a_service_with_too_much_to_do_is_not_taken_for_absent(visit: Visit) -> None:
    visit.expected.append("status of 429")
    page = visit.open("#lake", ready=".ice [data-sign]")
    refusal = {"type": "urn:percept:problem:overloaded", "title": "Overloaded", "status": 429}
    page.route("**/predict/**", lambda route: route.fulfill(status=429, json=refusal), times=1)
    page.get_by_role("button", name="Slippery").click()

    expect(page.get_by_role("alert")).to_contain_text("Too many are asking at once.")
    expect(page.get_by_role("button", name="Slip otherwise")).to_be_visible()
    expect(page.get_by_role("status")).not_to_contain_text("Takes 6 steps")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_language_is_taken_when_its_words_are_there(visit: Visit, restart: Callable[[], None]) -> None:
    page = visit.open()
    visit.server.stop()
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    assert page.evaluate("[document.documentElement.lang, localStorage.percept ?? null]") == ["en", None]
    restart()

    expect(page.get_by_role("heading")).to_have_text("숫자를 그려 보세요")
    assert page.evaluate("JSON.parse(localStorage.percept).language") == "ko"


def test_a_sample_and_an_explanation_are_had_when_the_service_is_back(
    visit: Visit, restart: Callable[[], None]
) -> None:
    page = visit.open()
    draw(page)
    expect_label(page, "7")
    visit.server.stop()
    page.get_by_role("button", name="Pixels").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    page.get_by_role("button", name="Sample: a two").click()
    assert violations(page) == []
    restart()

    expect_label_later(page, "2")
    expect(answer(page).locator(".note")).to_contain_text("speak for 2")


def expect_label_later(page: Page, label: str) -> None:
    expect(answer(page).locator(".label")).to_have_text(label)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_finds_nobody_is_asked_again(visit: Visit, status: int) -> None:
    visit.expected.append(f"status of {status}")
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    left = [1]

    def refuse(route: Route) -> None:
        if left:
            left.pop()
            route.fulfill(status=status, body="<html>Nobody")
        else:
            route.continue_()

    page.route("**/models", refuse)
    page.goto(visit.server.url)

    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    expect(page.get_by_label("Model", exact=True)).to_be_enabled()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_file_is_read_once_and_answered_when_it_has_changed_since(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "two.png"
    file.write_bytes((SAMPLES / "two.png").read_bytes())
    page = visit.open()
    page.get_by_label("Choose a picture").set_input_files(file)
    expect_label(page, "2")
    file.write_bytes(b"something else")
    page.get_by_label("Model", exact=True).select_option("mnist-lenet")

    expect(answer(page).locator(".model")).to_have_text("mnist-lenet, version 1")
    expect_label(page, "2")


def test_a_file_that_cannot_be_read_is_told(visit: Visit) -> None:
    page = visit.open()
    page.evaluate("() => { File.prototype.arrayBuffer = () => Promise.reject(new DOMException('', 'NotFoundError')); }")
    bring(page, "drop", b"", "folder", "")

    expect(answer(page).locator(".sure")).to_have_text("This cannot be read")
    expect(answer(page).locator(".reason")).to_contain_text("The browser cannot read folder")
    assert not [url for url in visit.requests if "/predict/" in url]


def test_an_explanation_of_an_older_picture_is_not_painted_over_a_newer(visit: Visit) -> None:
    page = visit.open()
    draw(page)
    expect_label(page, "7")
    held = Held(page, "**/explain/**")
    page.get_by_role("button", name="Pixels").click()
    expect(answer(page).locator(".note")).to_have_text("Looking inside…")
    with page.expect_response("**/predict/**"):
        draw(page, ONE, lift=False)
    page.wait_for_timeout(300)
    held.release(page)

    expect(answer(page).locator(".frame canvas")).to_be_hidden()
    expect(answer(page).locator(".note")).to_have_text("")


@pytest.mark.parametrize("away", ["model", "panel"])
def test_an_explanation_that_nobody_waits_for_is_given_up(visit: Visit, away: str) -> None:
    page = visit.open("#recognise?sample=seven.png")
    expect_label(page, "7")
    given_up: list[str] = []
    page.on("requestfailed", lambda request: given_up.append(request.url))
    Held(page, "**/explain/digits-net?gradients=false")
    with page.expect_request("**/explain/**"):
        page.get_by_role("button", name="Patches").click()
    if away == "model":
        page.get_by_label("Model", exact=True).select_option("mnist-cnn")
        expect(answer(page).locator(".model")).to_have_text("mnist-cnn, version 1")
    else:
        page.get_by_role("link", name="Inside").click()
        expect(page.get_by_text("It answers 7.")).to_be_visible()

    assert [url for url in given_up if "/explain/" in url]


def test_what_is_drawn_stays_when_a_slow_sample_comes(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_load_state("networkidle")
    held = Held(page, "**/page/samples/two.png")
    page.get_by_role("button", name="Sample: a two").click()
    draw(page)
    expect_label(page, "7")
    held.release(page)

    expect(page.get_by_role("img", name="A drawing of 1 strokes")).to_be_visible()
    expect_label(page, "7")


def test_of_two_samples_the_later_wins(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_load_state("networkidle")
    held = Held(page, "**/page/samples/two.png")
    page.get_by_role("button", name="Sample: a two").click()
    page.get_by_role("button", name="Sample: a seven").click()
    expect_label(page, "7")
    held.release(page)

    expect_label(page, "7")
    expect(page).to_have_url(re.compile(r"sample=seven\.png$"))


@pytest.mark.parametrize("how", ["undo", "paste"])
def test_a_stroke_under_way_may_be_taken_back_or_overtaken(visit: Visit, how: str) -> None:
    page = visit.open()
    draw(page, lift=False)
    if how == "undo":
        page.keyboard.press("Control+z")
    else:
        bring(page, "paste", PAPER, "three.jpg", "image/jpeg")
        expect_label(page, "3")
    page.mouse.move(300, 400, steps=5)
    page.mouse.up()

    seen = "An empty drawing board" if how == "undo" else "The picture three.jpg"
    expect(page.get_by_role("img", name=seen)).to_be_visible()


def test_one_draws_where_a_picture_lies_and_has_it_back(visit: Visit) -> None:
    page = visit.open("#recognise?sample=two.png")
    expect_label(page, "2")
    box = page.locator(".sheet").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.8 * box["height"], steps=12)
    page.mouse.up()

    expect_label(page, "1")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect_label(page, "2")
    expect(page).to_have_url(re.compile(r"sample=two\.png$"))


def test_back_keeps_a_picture_that_was_brought(visit: Visit) -> None:
    page = visit.open()
    bring(page, "drop", PAPER, "three.jpg", "image/jpeg")
    expect_label(page, "3")
    page.get_by_role("link", name="Inside").click()
    # The panel that is left has a choice of the same name.
    expect(page.get_by_role("heading", level=1)).to_have_text("Inside digits-net")
    page.get_by_label("Model", exact=True).select_option("mnist-lenet")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inside mnist-lenet")
    page.go_back()

    expect_label(page, "3")
    expect(page.get_by_role("img", name="The picture three.jpg")).to_be_visible()


def test_neither_the_wordmark_nor_escape_elsewhere_throws_a_drawing_away(visit: Visit) -> None:
    page = visit.open()
    draw(page)
    expect_label(page, "7")
    page.get_by_text("This very call").click()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Percept").click()

    expect_label(page, "7")
    expect(page.get_by_role("img", name="A drawing of 1 strokes")).to_be_visible()


def test_clear_has_nothing_to_do_when_a_sample_is_cleared(visit: Visit) -> None:
    page = visit.open("#recognise?sample=two.png")
    expect_label(page, "2")
    page.get_by_role("button", name="Clear").click()

    expect(page.get_by_role("button", name="Clear")).to_be_disabled()


def test_a_second_model_leaves_the_first_answer_as_it_is(visit: Visit) -> None:
    page = visit.open("#recognise?sample=seven.png")
    expect_label(page, "7")
    page.get_by_text("This very call").click()
    page.get_by_role("button", name="Pixels").click()
    expect(answer(page).locator(".note")).to_contain_text("speak for 7")
    visit.requests.clear()
    page.get_by_label("Compare with").select_option("mnist-svm")
    expect_label(page, "7", 1)

    expect(answer(page).locator(".note")).to_contain_text("speak for 7")
    expect(answer(page).locator("details")).to_have_attribute("open", "")
    asked = [url.rpartition("/")[2] for url in visit.requests if "/predict/" in url or "/explain/" in url]
    assert asked == ["mnist-svm?as_seen=true"]
    page.get_by_role("button", name="Clear").click()
    draw(page)
    expect(page.get_by_role("status")).to_contain_text("digits: ")
    expect(page.get_by_role("status")).to_contain_text("mnist-svm: ")  # each by its name


def test_the_brush_stays_when_the_language_changes(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("slider").fill("16")
    page.get_by_role("button", name="한국어").click()

    expect(page.get_by_role("heading")).to_have_text("숫자를 그려 보세요")
    expect(page.get_by_role("slider")).to_have_value("16")


def test_a_slow_answer_is_waited_for_in_words_and_may_be_stopped(visit: Visit) -> None:
    page = visit.open()
    Held(page, "**/predict/**")
    draw(page)

    expect(page.get_by_text("Waiting for the answer…")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Waiting for the answer…")).to_be_hidden()
    expect(answer(page)).not_to_have_attribute("aria-busy", "true")


def test_a_slow_list_of_models_is_waited_for_in_words(visit: Visit) -> None:
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    Held(page, "**/models")
    page.goto(visit.server.url)

    expect(page.get_by_text("Waiting for the list of models…")).to_be_visible()


def test_a_slow_inside_shows_no_headings_without_content(visit: Visit) -> None:
    page = visit.open()
    Held(page, "**/explain/**")
    page.get_by_role("link", name="Inside").click()

    expect(page.get_by_text("Waiting for the answer…")).to_be_visible()
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status").filter(has_text="Stopped.")).to_be_visible()
    page.unroute_all()
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_text("It answers 7.")).to_be_visible()
    expect(page.get_by_role("heading", level=2)).to_have_count(2)
    # Of another picture nothing stands there when that is stopped.
    Held(page, "**/explain/**")
    page.get_by_role("button", name="Sample: a two").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    page.unroute_all()
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_text("It answers 2.")).to_be_visible()


def test_who_goes_on_by_keyboard_sees_where_below_a_line_that_says_so(visit: Visit) -> None:
    """WCAG 2.2, 2.4.11: what has the focus is not hidden by what lies over the page."""
    page = visit.open("#points?k=2", viewport=PHONE, touch=True, ready=".centre")
    gone = "urn:percept:problem:overloaded"
    visit.expected.append("status of 429")
    page.route("**/cluster/fit", lambda route: route.fulfill(status=429, json={"type": gone, "status": 429}))
    page.get_by_role("button", name="k-means++").click()
    expect(page.locator(".gone:visible")).to_be_visible()
    hidden = []
    for _ in range(30):
        page.keyboard.press("Tab")
        hidden += page.evaluate(
            """() => {
                const focused = document.activeElement.getBoundingClientRect();
                const line = [...document.querySelectorAll(".gone")].find((each) => !each.hidden);
                const covered = line && focused.height && focused.top >= line.getBoundingClientRect().top - 1;
                return covered ? [document.activeElement.outerHTML] : [];
            }"""
        )

    assert hidden == []


def test_inside_is_there_when_the_list_of_models_was_stopped_and_asked_for_again(visit: Visit) -> None:
    page = visit.open()
    Held(page, "**/models")
    page.get_by_role("link", name="Inside").click()
    page.get_by_role("button", name="Stop").click()
    page.unroute_all()
    page.get_by_role("button", name="Ask again").click()

    expect(page.get_by_text("It answers 7.")).to_be_visible()


def test_an_older_answer_does_not_stand_there_when_a_picture_is_stopped(visit: Visit) -> None:
    page = visit.open("#recognise?sample=seven.png")
    expect_label(page, "7")
    Held(page, "**/predict/**")
    page.get_by_role("button", name="Sample: a two").click()
    page.get_by_role("button", name="Stop").click()
    expect(answer(page).locator(".sure")).to_have_text("Stopped.")
    expect(page.locator("p.unseen[role=status]").filter(has_text=re.compile(r"^Stopped\.$"))).to_have_count(1)
    expect(answer(page).locator(".label")).to_be_hidden()
    page.unroute_all()
    page.get_by_label("Model", exact=True).select_option("mnist-lenet")

    expect_label(page, "2")


def test_the_call_of_a_refusal_can_be_had_in_both_languages(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open()
    bring(page, "drop", b"just text", "notes.txt", "text/plain")
    page.get_by_text("This very call").click()
    expect(page.locator("code")).to_contain_text("curl")
    page.get_by_role("button", name="Python").click()

    expect(page.locator("code")).to_contain_text("urllib.request")


def test_no_call_of_an_older_view_stands_under_one_that_asks_nothing(visit: Visit) -> None:
    page = visit.open("#points?of=SVM", ready=".edge")
    page.get_by_text("This very call").click()
    expect(page.locator("code")).to_contain_text("blobs-svm")
    page.get_by_role("button", name="k-means", exact=True).click()
    expect(page.locator("code")).to_contain_text("cluster/fit")
    page.get_by_role("button", name="Clear").click()

    expect(page.locator("code")).to_have_text("")


@pytest.mark.parametrize("link", ["#inside", "#lake"])
def test_who_stops_and_asks_again_by_keyboard_stays_where_that_stands(visit: Visit, link: str) -> None:
    page = visit.open()
    calls = "**/explain/**" if link == "#inside" else "**/predict/**"
    Held(page, calls)
    page.goto(f"{visit.server.url}/{link}")
    page.get_by_role("button", name="Stop").press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Ask again")).to_be_focused()
    page.unroute_all()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Ask again")).to_be_hidden()

    assert page.evaluate("document.activeElement.className") == "foot"


@pytest.mark.parametrize("panel", ["recognise", "lake", "news"])
def test_a_file_that_is_dropped_never_takes_the_place_of_the_page_and_text_is_dropped_as_ever(
    visit: Visit, panel: str
) -> None:
    visit.expected.append("status of 422")
    page = visit.open(f"#{panel}", ready="h1")
    taken = page.evaluate(
        """() => ["dragover", "drop"].map((kind) => [new File(["x"], "x.txt"), undefined].map((file) => {
            const dataTransfer = new DataTransfer();
            file ? dataTransfer.items.add(file) : dataTransfer.setData("text/plain", "words");
            return !document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
        }))"""
    )

    assert taken == [[True, False], [True, False]]


def test_what_inside_refuses_stands_in_the_place_of_layers_and_goes(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open()
    bring(page, "drop", b"just text", "notes.txt", "text/plain")
    expect(answer(page).locator(".sure")).to_have_text("This cannot be answered")
    page.get_by_role("link", name="Inside").click()

    expect(page.get_by_role("alert")).to_contain_text("not an image that can be decoded")
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    assert violations(page) == []
    page.get_by_role("button", name="Sample: a two").click()
    expect(page.get_by_text("It answers 2.")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("heading", level=2)).to_have_count(2)


@pytest.mark.parametrize("width", [1280, 390])
def test_warnings_move_nothing_and_what_is_compared_stands_at_one_height(visit: Visit, width: int) -> None:
    page = visit.open("#recognise?with=mnist-mlp", viewport={"width": width, "height": 860})

    def heights() -> list[list[float]]:
        boxes = [[each.bounding_box() for each in page.locator(part).all()] for part in (".bars", ".seen", ".call")]
        return [[box["y"] for box in part if box] for part in boxes]

    empty = heights()
    for place in (0.05, 0.5, 0.9):
        draw(page, ((place, place), (place + 0.05, 0.05)))
    expect(answer(page).locator(".notices li")).not_to_have_count(0)
    expect(answer(page, 1).locator(".notices li")).not_to_have_count(0)

    assert heights() == empty
    if width > 1000:
        assert all(one == other for one, other in empty)


def test_of_many_classes_the_best_is_always_there(visit: Visit) -> None:
    """The answers are made up: no model here has so many classes."""
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    labels = [f"class {n}" for n in range(20)]

    def models(route: Route) -> None:
        told = route.fetch().json()
        for model in told["models"]:
            if model["name"] == told["aliases"]["digits"]:
                model["labels"] = labels
        route.fulfill(json=told)

    def predict(route: Route) -> None:
        told = route.fetch().json()
        shares = [0.02] * 17 + [0.62] + [0.02] * 2
        told["predictions"][0] |= {"label": "class 17", "index": 17, "probability": 0.62, "probabilities": shares}
        route.fulfill(json=told)

    page.route("**/models", models)
    page.route("**/predict/**", predict)
    page.goto(f"{visit.server.url}/#recognise?sample=two.png")
    expect_label(page, "class 17")

    bars = page.get_by_role("list", name="12 of the classes, the best among them")
    expect(bars.locator(".name")).to_have_text([*labels[:11], "class 17"])
    expect(bars.locator(".best .value")).to_have_text("62.0%")


def test_an_address_of_a_file_is_given_back_when_the_panel_goes(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(
        """() => {
            window.made = [];
            for (const [name, sign] of [["createObjectURL", 1], ["revokeObjectURL", -1]]) {
                const usual = URL[name];
                URL[name] = (given) => (made.push(sign), usual.call(URL, given));
            }
        }"""
    )
    bring(page, "drop", PAPER, "three.jpg", "image/jpeg")
    expect_label(page, "3")
    page.get_by_role("link", name="Inside").click()
    expect(page.get_by_text("It answers 3.")).to_be_visible()

    assert page.evaluate("made") == [1, -1]


def test_a_phone_on_its_side_shows_board_and_answer_beside_each_other(visit: Visit) -> None:
    page = visit.open("#recognise?sample=two.png", viewport={"width": 844, "height": 390}, touch=True)
    expect_label(page, "2")

    sheet, label = page.locator(".sheet").bounding_box(), answer(page).locator(".label").bounding_box()
    assert sheet and label
    assert sheet["height"] <= 0.61 * 390
    assert label["x"] >= sheet["x"] + sheet["width"]
