"""The panel "Inside": the layers of a model at work on a picture, and what its training left to look at."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array
from playwright.sync_api import Route, expect

from tests.conftest import ROOT, SAMPLES
from tests.page.conftest import PHONE, Visit
from tests.page.hand import bring, draw, expect_label, until, violations
from tests.served import Server


def test_every_layer_shows_its_maps_and_figures_as_the_service_tells_them(visit: Visit) -> None:
    page = visit.open("#inside?model=mnist-cnn&sample=two.png")
    rows = page.locator("tbody tr:visible")

    expect(rows).to_have_count(10)
    expect(page.get_by_text("It answers 2.")).to_be_visible()
    expect(page.get_by_text("10 layers below, 118,346 learned numbers")).to_be_visible()
    first = rows.first.locator("th, td")
    expect(first.nth(1)).to_have_text("Convconv2d")
    expect(first.nth(2)).to_have_text("32 × 24 × 24")
    expect(first.nth(3)).to_have_text("832")
    page.get_by_label("Scaling and reshaping, too").check()
    expect(rows).to_have_count(16)
    expect(page.get_by_text("16 layers below")).to_be_visible()


@pytest.mark.parametrize(("model", "answers"), [("mnist-cnn", "It answers 2."), ("mnist-autoencoder", "It answers")])
def test_a_sample_keeps_the_focus_when_it_is_looked_at(visit: Visit, model: str, answers: str) -> None:
    page = visit.open(f"#inside?model={model}")
    sample = page.get_by_role("button", name="Sample: a two")
    sample.focus()
    with page.expect_response("**/explain/**"):
        page.keyboard.press("Enter")

    expect(page.get_by_text(answers)).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    expect(sample).to_be_focused()


def test_nothing_is_waited_for_once_the_maps_that_asked_are_closed(visit: Visit) -> None:
    visit.expected.append("status of 429")
    page = visit.open("#inside?model=mnist-cnn")
    refusal = {"type": "urn:percept:problem:overloaded", "status": 429}
    page.route("**/explain/**", lambda route: route.fulfill(status=429, json=refusal))
    larger = page.get_by_role("button", name="Show the maps of relu larger", exact=True)
    larger.click()
    expect(page.get_by_role("alert")).to_contain_text("Too many are asking at once.")
    larger.click()

    expect(page.get_by_role("alert")).to_be_hidden()


def test_maps_are_shown_larger(visit: Visit) -> None:
    page = visit.open("#inside?model=mnist-cnn")
    page.get_by_role("button", name="Show the maps of relu larger", exact=True).click()
    large = page.get_by_role("img", name="Maps of relu, the least number black")

    assert large.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [149, 149]
    page.keyboard.press("Enter")
    expect(large).to_be_hidden()


def test_the_arithmetic_at_one_place_is_that_of_the_model(visit: Visit) -> None:
    """The sum is reckoned in the browser; what is then missing has to be the bias that the file has."""
    model = onnx.load(ROOT / "artifacts" / "mnist-cnn" / "1" / "model.onnx")
    weights = {each.name: to_array(each).astype(np.float64) for each in model.graph.initializer}
    filters, biases = (weights[f"classifier.body.conv1.{kind}"] for kind in ("weight", "bias"))
    page = visit.open("#inside?model=mnist-cnn")
    page.get_by_role("button", name="Show the maps of conv2d larger", exact=True).click()
    page.get_by_label("Map", exact=True).fill("3")
    page.get_by_label("Row").fill("10")
    page.get_by_label("Column").fill("12")

    cells = [[float(text) for text in grid.locator("td").all_inner_texts()] for grid in page.locator(".grid").all()]
    window, kernel, products = np.array(cells).reshape(3, 5, 5)
    assert kernel == pytest.approx(filters[3, 0], abs=0.00501)
    assert products == pytest.approx(window * filters[3, 0], abs=0.0101)
    told = page.locator(".map [role=status]").inner_text()
    total, bias, value = map(float, re.findall(r"-?\d+\.\d+(?!\d)", told))
    assert bias == pytest.approx(float(biases[3]), abs=1e-4)
    assert total == pytest.approx(float((window * filters[3, 0]).sum()), abs=0.05)
    assert value == pytest.approx(total + bias, abs=1.5e-4)


def test_the_first_convolution_of_the_best_model_is_shown_and_its_arithmetic_found_elsewhere(visit: Visit) -> None:
    page = visit.open("#inside?sample=two.png")
    page.get_by_role("button", name="Show the maps of conv2d larger", exact=True).click()

    expect(page.get_by_role("img", name="Map 0 of conv2d")).to_be_visible()
    expect(page.locator(".map [role=status]")).to_contain_text("at row")
    page.get_by_role("link", name="mnist-lenet").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Inside mnist-lenet")
    expect(page).to_have_url(re.compile(r"#inside\?sample=two\.png&model=mnist-lenet$"))


def test_a_layer_of_too_many_numbers_says_so(visit: Visit) -> None:
    page = visit.open("#inside?model=mnist-cnn")

    def without_numbers(route: Route) -> None:
        told = route.fetch().json()
        told["layers"][0]["numbers"] = None
        route.fulfill(json=told)

    page.route("**/explain/*?layer=*", without_numbers)
    page.get_by_role("button", name="Show the maps of conv2d larger", exact=True).click()

    expect(page.get_by_text("This layer has more numbers than are told one by one")).to_be_visible()


def test_maps_open_once_stay_open_beside_other_rows_and_take_numbers_that_are_there(visit: Visit) -> None:
    page = visit.open("#inside?model=mnist-cnn")
    larger = page.get_by_role("button", name="Show the maps of conv2d larger", exact=True)
    finished: list[str] = []
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: finished.append(request.url) if "layer=" in request.url else None)
    for _ in range(3):
        larger.click()
    expect(page.locator(".map")).to_have_count(1)
    page.get_by_label("Scaling and reshaping, too").check()
    expect(page.locator(".map")).to_be_visible()
    page.get_by_label("Row").fill("99")
    page.get_by_label("Row").press("Tab")

    expect(page.get_by_label("Row")).to_have_value("23")
    until(page, lambda: len(finished) == len([url for url in visit.requests if "layer=" in url]))
    expect(page.locator(".map")).to_have_count(1)


def test_no_sum_is_shown_that_does_not_reproduce_the_value(visit: Visit) -> None:
    page = visit.open("#inside?model=mnist-cnn")

    def other_filters(route: Route) -> None:
        told = route.fetch().json()
        for kernel in told["kernels"]:
            kernel["values"] = kernel["values"][::-1]
        route.fulfill(json=told)

    page.route("**/convolution", other_filters)
    page.get_by_role("button", name="Show the maps of conv2d larger", exact=True).click()

    expect(page.locator(".map [role=status]")).to_contain_text("at row")
    expect(page.locator(".grid")).to_have_count(0)


def test_a_long_drawing_stays_out_of_the_link(visit: Visit) -> None:
    page = visit.open()
    places = [(0.1 + 0.8 * (n * 37 % 100) / 100, 0.1 + 0.8 * (n * 61 % 100) / 100) for n in range(140)]
    draw(page, places)
    page.get_by_role("link", name="Inside").click()
    expect(page.get_by_text("It answers")).to_be_visible()

    assert len(page.url) < 1_000


def test_a_map_is_chosen_where_it_is_pointed_at(visit: Visit) -> None:
    page = visit.open("#inside?model=mnist-cnn")
    page.get_by_role("button", name="Show the maps of relu_1 larger", exact=True).click()
    expect(page.get_by_role("img", name="Map 0 of relu_1")).to_be_visible()
    sheet = page.get_by_role("img", name="Maps of relu_1")
    box = sheet.bounding_box()
    assert box is not None
    sheet.click(position={"x": box["width"] * 2.5 / 8, "y": box["height"] * 1.5 / 8})  # 64 maps are 8 × 8

    expect(page.get_by_role("img", name="Map 10 of relu_1")).to_be_visible()
    expect(page.locator(".map [role=status]")).to_contain_text("at row")
    expect(page.locator(".grid")).to_have_count(0)  # of a later layer nothing is told but its numbers


def test_a_drawing_goes_with_one_from_panel_to_panel(visit: Visit) -> None:
    page = visit.open()
    draw(page)
    expect_label(page, "7")
    page.get_by_role("link", name="Inside").click()
    expect(page.get_by_text("It answers 7.")).to_be_visible()
    page.get_by_role("link", name="Take another picture").click()

    expect_label(page, "7")
    expect(page.get_by_role("img", name="A drawing of 1 strokes")).to_be_visible()


def test_so_does_a_file_which_has_no_place_in_a_link(visit: Visit) -> None:
    page = visit.open()
    bring(page, "drop", (SAMPLES / "three-on-paper.jpg").read_bytes(), "three.jpg", "image/jpeg")
    expect_label(page, "3")
    page.get_by_role("link", name="Inside").click()

    expect(page.get_by_text("It answers 3.")).to_be_visible()


def test_figures_of_the_training_are_there(visit: Visit) -> None:
    page = visit.open("#inside?model=fashion-cnn")

    expect(page.get_by_role("img", name="Learning curves")).to_have_count(1)
    figures = page.locator(".figures img")
    expect(figures).to_have_count(5)
    for place in range(5):
        figures.nth(place).scroll_into_view_if_needed()
        expect(figures.nth(place)).not_to_have_js_property("naturalWidth", 0)


def test_another_model_is_looked_into_and_stands_in_the_link(visit: Visit) -> None:
    page = visit.open("#inside")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inside digits-net")
    page.get_by_label("Model", exact=True).select_option("mnist-svm")

    expect(page.get_by_role("heading", level=1)).to_have_text("Inside mnist-svm")
    expect(page).to_have_url(re.compile(r"#inside\?model=mnist-svm&sample=seven\.png$"))


def test_a_service_that_goes_away_is_told_and_found_again(visit: Visit, tmp_path: Path) -> None:
    visit.expected.append("ERR_")
    visit.server = server = Server(tmp_path / "log", PERCEPT_WORKERS="1")
    try:
        page = visit.open("#inside?model=mnist-cnn")
        expect(page.get_by_text("It answers 7.")).to_be_visible()
        server.stop()
        page.get_by_role("button", name="Sample: a two").click()
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
        server = Server(tmp_path / "log", server.port, PERCEPT_WORKERS="1")

        expect(page.get_by_text("It answers 2.")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
    finally:
        visit.leave()
        server.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_picture_is_taken(visit: Visit, screenshots: Path, theme: str) -> None:
    page = visit.open("#inside?model=mnist-cnn&sample=two.png", theme=theme)
    expect(page.get_by_text("It answers 2.")).to_be_visible()
    page.get_by_role("button", name="Show the maps of conv2d larger", exact=True).click()
    expect(page.locator(".grid")).to_have_count(3)

    assert violations(page) == []
    page.locator(".figures img").last.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=screenshots / f"inside-{theme}.png", full_page=True)


def test_of_a_model_that_takes_photographs_its_subject_stays(visit: Visit) -> None:
    """Inside looks into models of small gray pictures alone."""
    page = visit.open("#inside?model=clothing-photos")

    expect(page.get_by_text("It answers Ankle boot.")).to_be_visible()
    expect(page.get_by_label("Model", exact=True)).to_have_value("clothing")


def test_a_phone_needs_no_sideways_scroll(visit: Visit) -> None:
    page = visit.open("#inside?model=fashion-cnn", viewport=PHONE, touch=True)
    expect(page.get_by_text("It answers Ankle boot.")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
