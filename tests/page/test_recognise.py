"""The panel "Recognise" as people use it: what they do, and what they see then."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Page, Route, expect

from tests.conftest import ROOT, SAMPLES, run_python
from tests.page.conftest import PHONE, Visit
from tests.page.hand import ONE, SEVEN, Held, answer, bring, draw, expect_label, shares
from tests.served import Server

PAPER = (SAMPLES / "three-on-paper.jpg").read_bytes()
REFUSED = "status of 422"


def test_a_seven_drawn_with_the_mouse_is_a_seven(visit: Visit) -> None:
    page = visit.open()
    draw(page)

    expect_label(page, "7")
    expect(answer(page).locator(".sure")).to_contain_text("% sure")
    expect(answer(page).locator(".best .name")).to_have_text("7")
    lengths = shares(page)
    assert len(lengths) == 10 and sum(lengths) == pytest.approx(1, abs=1e-3)
    expect(answer(page).locator(".timing")).to_contain_text("ms in the model")
    expect(page.get_by_role("status")).to_contain_text("7.")


def test_answers_come_while_the_stroke_is_still_drawn(visit: Visit) -> None:
    page = visit.open()
    draw(page, lift=False)

    expect_label(page, "7")
    expect(page.get_by_role("status")).to_have_text("")  # who listens hears what is final


def test_a_finger_draws_too(visit: Visit) -> None:
    page = visit.open(viewport=PHONE, touch=True)
    page.evaluate(
        """stroke => {
            const canvas = document.querySelector(".sheet canvas");
            const { left, top, width, height } = canvas.getBoundingClientRect();
            canvas.setPointerCapture = () => {}; // of a pointer that no device has there is none
            stroke.forEach(([x, y], n) => canvas.dispatchEvent(new PointerEvent(n ? "pointermove" : "pointerdown",
                { pointerId: 7, pointerType: "touch", clientX: left + x * width, clientY: top + y * height })));
            canvas.dispatchEvent(new PointerEvent("pointerup", { pointerId: 7, pointerType: "touch" }));
        }""",
        SEVEN,
    )

    expect_label(page, "7")


def test_undo_takes_a_stroke_back_clear_all_and_undo_brings_that_back(visit: Visit) -> None:
    page = visit.open()
    draw(page)
    draw(page, ONE)
    expect(page.get_by_role("img", name="A drawing of 2 strokes")).to_be_visible()
    page.get_by_role("button", name="Undo").click()

    expect_label(page, "7")
    expect(page.get_by_role("img", name="A drawing of 1 strokes")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(answer(page).locator(".sure")).to_have_text("The answer comes while you draw.")
    clear = page.get_by_role("button", name="Clear")
    expect(clear).to_be_disabled()
    expect(clear).to_be_focused()
    expect(page).to_have_url(re.compile(r"/#$"))
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("img", name="A drawing of 1 strokes")).to_be_visible()
    expect_label(page, "7")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_keys_take_back_and_clear(visit: Visit) -> None:
    page = visit.open()
    draw(page)
    draw(page, ONE)
    page.keyboard.press("Control+z")
    expect(page.get_by_role("img", name="A drawing of 1 strokes")).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.get_by_role("img", name="An empty drawing board")).to_be_visible()


def test_everything_can_be_reached_and_a_sample_taken_by_keyboard(visit: Visit) -> None:
    page = visit.open("#recognise?sample=seven.png")
    expect_label(page, "7")
    page.evaluate("addEventListener('focusin', ({ target }) => (target.dataset.reached = ''))")
    missed = """() => [...document.querySelectorAll("a[href], button, input, select, summary")]
        .filter((each) => !each.disabled && each.checkVisibility({ visibilityProperty: true }))
        .filter(({ dataset }) => !("reached" in dataset))
        .map((each) => each.outerHTML)"""
    controls = len(page.evaluate(missed))
    for _ in range(controls):
        page.keyboard.press("Tab")

    assert controls > 20 and page.evaluate(missed) == []
    page.get_by_role("button", name="Sample: a two").press("Enter")
    expect_label(page, "2")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_file_that_is_dropped_or_pasted_is_answered(visit: Visit, event: str) -> None:
    page = visit.open()
    bring(page, event, PAPER, "three.jpg", "image/jpeg")

    expect_label(page, "3")
    expect(answer(page).locator(".notices")).to_contain_text("darker than the background")
    expect(page.get_by_role("img", name="The picture three.jpg")).to_be_visible()


def test_a_file_that_is_chosen_is_answered_and_drawing_goes_on_after_clear(visit: Visit) -> None:
    page = visit.open()
    page.get_by_label("Choose a picture").set_input_files(SAMPLES / "two.png")
    expect_label(page, "2")
    page.get_by_role("button", name="Clear").click()
    draw(page)

    expect_label(page, "7")


def test_what_is_no_picture_is_refused_in_words(visit: Visit) -> None:
    visit.expected.append(REFUSED)
    page = visit.open()
    bring(page, "drop", b"just text", "notes.txt", "text/plain")

    expect(answer(page).locator(".sure")).to_have_text("This cannot be answered")
    expect(answer(page).locator(".reason")).to_contain_text("not an image that can be decoded: PNG, JPEG")
    page.get_by_role("button", name="Sample: a seven").click()
    expect_label(page, "7")


def test_what_the_model_saw_is_what_the_service_says(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("button", name="Sample: a seven").click()
    expect_label(page, "7")
    call = ["curl", "-s", "-F", f"file=@{SAMPLES / 'seven.png'}", f"{visit.server.url}/predict/digits?as_seen=true"]
    told = json.loads(subprocess.run(call, capture_output=True, check=True).stdout)

    seen = page.get_by_role("img", name="The picture as the model saw it")
    assert seen.get_attribute("src") == told["predictions"][0]["as_seen"]


def test_what_is_laid_over_a_picture_has_the_colours_of_the_theme(visit: Visit) -> None:
    visit.expected.append("willReadFrequently")  # what the test does, not the page
    page = visit.open("#recognise?sample=seven.png")
    expect_label(page, "7")
    page.get_by_role("button", name="Pixels").click()
    expect(answer(page).locator(".note")).to_contain_text("speak for 7")
    colours = """canvas => { const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
        const found = {};
        for (let n = 0; n < data.length; n += 4) if (data[n + 3] > 250) found[data.slice(n, n + 3).join(" ")] = 1;
        return Object.keys(found); }"""
    canvas = answer(page).locator(".frame canvas")
    before = canvas.evaluate(colours)
    page.get_by_role("button", name="Light or dark").click()

    assert before and set(before).isdisjoint(canvas.evaluate(colours))


@pytest.mark.parametrize("ground", ["Pixels", "Patches"])
def test_what_the_answer_rests_on_is_laid_over_it(visit: Visit, ground: str) -> None:
    page = visit.open("#recognise?sample=seven.png")
    expect_label(page, "7")
    page.get_by_role("button", name=ground).click()

    expect(answer(page).locator(".note")).to_contain_text("7")
    painted = (
        answer(page)
        .locator(".frame canvas")
        .evaluate(
            """canvas => { const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const pixel = (_, n) => data.slice(4 * n, 4 * n + 4);
        const pixels = Array.from({ length: data.length / 4 }, pixel).filter((each) => each[3] > 40);
        const counted = (kind) => pixels.filter(kind).length;
        return [canvas.width, canvas.height, counted(([r, , b]) => r > b + 80), counted(([r, , b]) => b > r + 80),
                pixels.length]; }"""
        )
    )
    assert painted[:2] == [28, 28]
    for_it, against_it, whole = painted[2:]
    assert for_it > 20 and (against_it > 0 or ground == "Patches")
    assert for_it + against_it > 0.9 * whole
    expect(answer(page).locator("summary")).to_be_visible()
    answer(page).get_by_text("This very call").click()
    expect(answer(page).locator("code")).to_contain_text(
        "/explain/digits-net?occlusion=false" if ground == "Pixels" else "/explain/digits-net?gradients=false"
    )


def test_another_model_answers_and_a_second_beside_it(visit: Visit) -> None:
    page = visit.open("#recognise?sample=two.png")
    page.get_by_label("Model", exact=True).select_option("mnist-lenet")
    page.get_by_label("Compare with").select_option("mnist-svm")

    expect(answer(page, 0).locator(".model")).to_have_text("mnist-lenet, version 1")
    expect(answer(page, 1).locator(".model")).to_have_text("mnist-svm, version 1")
    expect_label(page, "2", 0)
    expect_label(page, "2", 1)
    expect(answer(page, 1).locator(".sure")).to_have_text("by its margin; it has no probabilities")
    assert max(shares(page, 1)) == 1


def test_clothing_is_named_and_an_autoencoder_shows_what_it_rebuilt(visit: Visit) -> None:
    page = visit.open("#recognise?model=clothing&with=fashion-autoencoder&sample=ankle-boot.png")

    expect(page.get_by_role("heading")).to_have_text("Show a piece of clothing")
    expect_label(page, "Ankle boot")
    expect(answer(page, 0).locator(".seen")).to_contain_text("What the model saw")
    expect(answer(page, 1).locator(".seen")).to_contain_text("What it saw, what it rebuilt")
    expect(page.get_by_role("img", name="The picture as the model rebuilt it")).to_be_visible()


@pytest.mark.parametrize(
    ("model", "sample", "label", "error"),
    [
        ("mnist-autoencoder", "two.png", "a digit", "0.243; up to 0.398"),
        ("fashion-autoencoder", "ankle-boot.png", "clothing", "0.00977; up to 0.0645"),
        ("fashion-autoencoder", "two.png", "no clothing", "0.222; up to 0.0645"),
    ],
)
def test_an_autoencoder_says_how_far_off_it_is_beside_what_it_rebuilt(
    visit: Visit, model: str, sample: str, label: str, error: str
) -> None:
    page = visit.open(f"#recognise?model={model}&sample={sample}")

    expect_label(page, label)
    expect(answer(page).locator(".sure")).to_have_text(f"rebuilt with an error of {error} is usual")
    body = (ROOT / "app" / "web" / "samples" / sample).read_bytes()
    request = urllib.request.Request(f"{visit.server.url}/predict/{model}", body, {"Content-Type": "image/png"})
    [told] = json.load(urllib.request.urlopen(request))["predictions"]
    rebuilt = page.get_by_role("img", name="The picture as the model rebuilt it")
    assert rebuilt.get_attribute("src") == told["outputs"]["reconstruction"]
    assert f"{told['outputs']['reconstruction_error']:.3g}" == error.partition(";")[0]
    seen, other = page.locator(".frame").bounding_box(), rebuilt.bounding_box()
    assert seen and other
    assert (seen["y"], seen["width"]) == (other["y"], other["width"])  # beside each other, and within the page
    assert other["x"] + other["width"] <= 1160


def test_the_call_can_be_copied_and_gives_the_same_answer(visit: Visit) -> None:
    page = visit.open()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    draw(page)
    expect_label(page, "7")
    page.get_by_text("This very call").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    curl = str(page.evaluate("navigator.clipboard.readText()"))
    page.get_by_role("button", name="Python").click()
    expect(page.locator("pre")).to_contain_text("urllib.request")

    told = json.loads(subprocess.run(["sh", "-c", curl], capture_output=True, check=True).stdout)
    assert told["predictions"][0]["label"] == "7"
    assert told["predictions"][0]["as_seen"] == page.locator(".frame img").get_attribute("src")
    assert "'label': '7'" in run_python(page.locator("pre").inner_text())


def test_the_call_names_a_larger_file(visit: Visit) -> None:
    page = visit.open()
    bring(page, "drop", PAPER, "it's three.jpg", "image/jpeg")
    expect_label(page, "3")
    page.get_by_text("This very call").click()

    expect(page.locator("pre")).to_have_text(
        "curl -H 'Content-Type: image/jpeg' --data-binary '@it'\\''s three.jpg' "
        f"'{visit.server.url}/predict/digits?as_seen=true'"
    )


@pytest.mark.parametrize("picture", ["ink=", "sample="])
def test_the_link_names_the_picture_while_that_comes_back(visit: Visit, picture: str) -> None:
    page = visit.open()
    draw(page) if picture == "ink=" else page.get_by_role("button", name="Sample: a seven").click()
    expect_label(page, "7")
    page.wait_for_url(re.compile(picture))
    page.context.add_init_script(
        """const replace = history.replaceState.bind(history);
        window.links = [];
        history.replaceState = (state, title, link) => (links.push(link), replace(state, title, link));"""
    )
    page.reload()
    expect_label(page, "7")
    page.wait_for_function("links.length")

    assert all(picture in link for link in page.evaluate("links"))


def test_a_link_opens_the_same_drawing_and_models(visit: Visit) -> None:
    page = visit.open("#recognise?model=mnist-cnn&with=mnist-mlp")
    draw(page)
    expect(page.get_by_role("status")).to_contain_text("7.")
    seen = page.locator(".frame img").first.get_attribute("src")
    expect(page).to_have_url(re.compile("ink="))
    again = visit.open(page.url.removeprefix(f"{visit.server.url}/"))

    expect_label(again, "7")
    expect(again.get_by_label("Model", exact=True)).to_have_value("mnist-cnn")
    expect(again.get_by_label("Compare with")).to_have_value("mnist-mlp")
    assert again.locator(".frame img").first.get_attribute("src") == seen


@pytest.mark.parametrize(
    "link",
    [
        "#nothing?at=all",
        "#constructor",
        "#toString",
        "#recognise?model=no&with=no&sample=../../x",
        "#recognise?ink=A",
        "#recognise?ink=%3C",
    ],
)
def test_a_link_that_means_nothing_opens_an_empty_board(visit: Visit, link: str) -> None:
    page = visit.open(link)
    page.wait_for_load_state("networkidle")

    expect(page.get_by_role("img", name="An empty drawing board")).to_be_visible()
    expect(page.get_by_label("Model", exact=True)).to_have_value("digits")
    expect(answer(page).locator(".sure")).to_have_text("The answer comes while you draw.")
    assert not [url for url in visit.requests if "/predict/" in url]


def test_a_service_that_goes_away_is_told_and_found_again(visit: Visit, tmp_path: Path) -> None:
    visit.expected.append("ERR_")
    visit.server = server = Server(tmp_path / "log", PERCEPT_WORKERS="1")
    try:
        page = visit.open()
        draw(page)
        expect_label(page, "7")
        board = page.locator(".sheet").bounding_box()
        server.stop()
        draw(page, ((0.35, 0.5), (0.7, 0.5)))

        expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
        expect_label(page, "7")  # what there was stays, and where it was
        assert page.locator(".sheet").bounding_box() == board
        server = Server(tmp_path / "log", server.port, PERCEPT_WORKERS="1")
        with page.expect_request_finished(lambda request: "/predict/" in request.url, timeout=15_000):
            pass
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(answer(page).locator(".timing")).to_contain_text("ms in the model")
        expect(answer(page).locator(".label")).to_have_text("7")
    finally:
        visit.leave()
        server.stop()


def test_nothing_jumps_when_the_answer_comes(visit: Visit) -> None:
    page = visit.open()
    parts = (".bars", ".seen", ".timing", ".call", ".tools", ".samples")
    before = [page.locator(part).bounding_box() for part in parts]
    draw(page)
    expect_label(page, "7")

    assert [page.locator(part).bounding_box() for part in parts] == before


def test_questions_that_wait_give_way_to_the_latest(visit: Visit) -> None:
    page = visit.open()
    asked = page.evaluate(
        """async () => {
            const { Latest } = await import("/page/api.js");
            const [began, aborted] = [[], []];
            const latest = new Latest(async (question, signal) => {
                began.push(question);
                signal.addEventListener("abort", () => aborted.push(question));
                await new Promise((resolve) => setTimeout(resolve, 40));
            }, 20);
            const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
            latest.ask("first");
            latest.ask("overtaken");
            latest.ask("second");
            await pause(60);
            latest.ask("final", true);
            await pause(80);
            latest.ask("given up");
            latest.stop();
            latest.ask("after");
            await pause(60);
            return [began, aborted];
        }"""
    )

    assert asked == [["first", "second", "final", "given up", "after"], ["second", "given up"]]


def test_what_the_rate_refuses_is_asked_again_and_what_there_is_stays(visit: Visit) -> None:
    visit.expected.append("status of 429")
    page = visit.open()
    page.get_by_role("button", name="Sample: a seven").click()
    expect_label(page, "7")
    refusal = {"type": "urn:percept:problem:too-many-requests", "status": 429}
    asked_again = Held(page, "**/predict/**")
    page.route("**/predict/**", lambda route: route.fulfill(status=429, json=refusal), times=1)
    page.get_by_role("button", name="Sample: a two").click()

    expect(answer(page).locator(".timing")).to_have_text("Too many requests in a short time")
    expect(answer(page).locator(".label")).to_have_text("7")
    asked_again.release(page)
    expect_label(page, "2")


def test_models_that_are_refused_for_a_moment_come_after_it(visit: Visit) -> None:
    visit.expected.append("status of 429")
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    refusal = {"type": "urn:percept:problem:too-many-requests", "status": 429}
    page.route("**/models", lambda route: route.fulfill(status=429, json=refusal), times=1)
    page.goto(f"{visit.server.url}/")
    expect(page.get_by_role("alert")).to_contain_text("Too many requests in a short time.")

    expect(page.get_by_label("Model", exact=True)).to_be_enabled()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_picture_that_the_memory_is_too_small_for_is_not_sent_again_and_again(visit: Visit) -> None:
    visit.expected.append("status of 503")
    page = visit.open()
    asked: list[str] = []
    refusal = {"type": "urn:percept:problem:out-of-memory", "status": 503, "detail": "send something smaller"}

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, json=refusal)

    page.route("**/predict/**", refuse)
    page.locator(".sample").first.click()

    expect(answer(page).locator(".sure")).to_have_text("There is no memory for this now")
    expect(answer(page).locator(".reason")).to_have_text("send something smaller")
    page.wait_for_timeout(1_200)
    assert len(asked) == 1


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_service_that_has_too_much_to_do_is_asked_again(visit: Visit, language: str) -> None:
    visit.expected.append("status of 429")
    page = visit.open(language=language)
    refusals = [429, 429]
    page.route(
        "**/predict/**",
        lambda route: (
            route.fulfill(status=refusals.pop(), json={"type": "urn:percept:problem:overloaded", "status": 429})
            if refusals
            else route.continue_()
        ),
    )
    page.locator(".sample").first.click()

    expect(answer(page).locator(".timing")).to_have_text(
        "Too many are asking at once" if language == "en" else "지금은 요청이 너무 많습니다"
    )
    expect_label(page, "7")


def measured_after_strokes(page: Page, count: int) -> list[float]:
    """Milliseconds from the end of a stroke until the frame with the final answer is painted: the next one begins."""
    took = []
    for _ in range(count):
        page.evaluate(
            """() => {
                let lifted;
                addEventListener("pointerup", () => (lifted = performance.now()), { capture: true, once: true });
                window.took = new Promise((resolve) =>
                    new MutationObserver(([each]) => each.target.textContent && requestAnimationFrame(() =>
                        requestAnimationFrame(() => resolve(performance.now() - lifted))
                    )).observe(document.querySelector("[role=status]"), { childList: true }));
            }"""
        )
        draw(page)
        took.append(float(page.evaluate("took")))
        page.keyboard.press("Escape")
        expect(page.get_by_role("status")).to_have_text("")
    return sorted(took)


@pytest.mark.alone
def test_the_answer_is_painted_within_300_ms_of_the_strokes_end(visit: Visit) -> None:
    took = measured_after_strokes(visit.open(), 5)

    assert took[2] <= 300, took


def test_the_sample_pictures_are_those_of_the_samples_folder() -> None:
    """The photograph smaller and gray, since the page has to stay small."""
    for copy in (ROOT / "app" / "web" / "samples").iterdir():
        if copy.suffix == ".png":
            assert copy.read_bytes() == (SAMPLES / copy.name).read_bytes(), copy.name
            continue
        seen = Image.open(copy)
        original = Image.open(SAMPLES / copy.name).convert("L").resize(seen.size, Image.Resampling.BICUBIC)
        assert ImageStat.Stat(ImageChops.difference(seen, original)).mean[0] < 1.5, copy.name
