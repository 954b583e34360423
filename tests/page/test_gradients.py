"""The panel "Gradients": formulas, activations, descents and XOR, as a person goes through them."""

import json
import math
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.page.conftest import DESKTOP, PHONE, Visit
from tests.page.hand import until, violations
from tests.served import Server

VIEWS = {
    "formula": "#gradients?formula=sigmoid(w*x%2Bb)&inputs=w=2;x=-1;b=0.5",
    "activations": "#gradients?view=activations&function=tanh&alpha=2",
    "descent": "#gradients?view=descent&surface=rosenbrock",
    "xor": "#gradients?view=xor&step=60",
}
READY = {"formula": ".node", "activations": ".plane", "descent": ".contour", "xor": ".contour"}


def show(visit: Visit, view: str, link: str | None = None, **how: Any) -> Page:
    return visit.open(link or VIEWS[view], ready=READY[view], **how)


def node(page: Page, name: str) -> Locator:
    return page.locator(".node", has=page.locator("strong", has_text=re.compile(f"^{re.escape(name)}$")))


def numbers(text: str) -> list[float]:
    return [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", text)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def go_to(page: Page, step: int) -> None:
    page.get_by_role("slider", name="Step").fill(str(step))


# --- a formula -------------------------------------------------------------------------------------------------------


def test_the_gradient_of_the_courses_first_formula(visit: Visit) -> None:
    """x = ones(2, 2): the mean of 3 (x + 2)² is 27, and its gradient 4.5 everywhere."""
    page = visit.open("#gradients", ready=".node")

    expect(page.locator(".sure")).to_have_text("mean(3*(x+2)**2) = 27")
    expect(page.get_by_text("∂/∂x = [[4.5, 4.5], [4.5, 4.5]]")).to_be_visible()
    expect(node(page, "x").locator(".nabla")).to_have_text("∇ [[4.5, 4.5],\n[4.5, 4.5]]")
    expect(node(page, "×").locator(".nabla")).to_have_text("∇ [[0.25, 0.25],\n[0.25, 0.25]]")
    expect(page.get_by_text("Differences of the value agree")).to_be_visible()


def test_gradients_go_back_step_by_step(visit: Visit) -> None:
    page = show(visit, "formula")
    value = sigmoid(-1.5)
    slope = value * (1 - value)
    go_to(page, 0)
    expect(node(page, "sigmoid")).to_contain_text(f"{value:.4g}")
    assert page.locator(".nabla").all_inner_texts() == [""] * 6
    page.get_by_role("button", name="On", exact=True).click()
    expect(node(page, "sigmoid").locator(".nabla")).to_have_text("∇ 1")
    expect(page.locator(".graph text")).to_have_text(["", "", "", "", f"1 × {slope:.4g} = {slope:.4g}"])
    arrived = [each for each in page.locator(".nabla").all_inner_texts() if each]
    assert arrived == [f"∇ {slope:.4g}", "∇ 1"]
    page.get_by_role("button", name="To the end").click()
    gradients = {"w": -slope, "x": 2 * slope, "b": slope}
    for name, gradient in gradients.items():
        expect(node(page, name).locator(".nabla")).to_have_text(f"∇ {gradient:.4g}")
        expect(page.get_by_text(f"∂/∂{name} = {gradient:.4g}", exact=True)).to_be_visible()


def test_a_graph_is_drawn_in_layers_from_left_to_right_and_on_a_phone_downwards(visit: Visit) -> None:
    for viewport, side, length in ((DESKTOP, "x", "width"), (PHONE, "y", "height")):
        page = show(visit, "formula", viewport=viewport)
        boxes = [dict(node(page, name).bounding_box() or {}) for name in ("w", "×", "+", "sigmoid")]
        for one, other in pairwise(boxes):
            assert other[side] >= one[side] + one[length]


def test_who_types_slowly_keeps_the_field(visit: Visit) -> None:
    page = visit.open("#gradients?view=formula&formula=x*y&inputs=x%3D2%3By%3D3", ready=".node")
    field = page.get_by_label("x", exact=True)
    field.focus()
    field.select_text()
    field.press_sequentially("25", delay=400)

    expect(page.locator(".sure")).to_have_text("x*y = 75")
    expect(field).to_be_focused()


def test_whole_numbers_are_not_rounded(visit: Visit) -> None:
    page = visit.open("#gradients?view=formula&formula=x*y&inputs=x%3D123%3By%3D456", ready=".node")

    expect(page.locator(".sure")).to_have_text("x*y = 56088")


def test_a_formula_of_ones_own_has_fields_for_its_inputs(visit: Visit) -> None:
    page = visit.open("#gradients", ready=".node")
    page.get_by_label("Formula").fill("sum(x * y) + pi")
    expect(page.get_by_label("y", exact=True)).to_have_value("1")
    page.get_by_label("x", exact=True).fill("[1, 2, 3]")
    page.get_by_label("y", exact=True).fill("[4, 5, 6]")

    expect(page.locator(".sure")).to_have_text(f"sum(x * y) + pi = {32 + math.pi:.4g}")
    expect(page.get_by_text("∂/∂x = [4, 5, 6]")).to_be_visible()
    expect(page.get_by_text("∂/∂y = [1, 2, 3]")).to_be_visible()
    page.wait_for_url(re.compile(r"y%3D%5B4"))
    page.reload()
    expect(page.get_by_text("∂/∂x = [4, 5, 6]")).to_be_visible()


@pytest.mark.parametrize(
    ("formula", "names"),
    [("where(x > 0, x, a*x)", ["x", "a"]), ("sum(m, axis=1) @ v + 1e5", ["m", "v"]), ("2*pi", []), ("y == 1", ["y"])],
)
def test_names_in_a_formula_are_told_from_functions_options_and_numbers(
    visit: Visit, formula: str, names: list[str]
) -> None:
    visit.expected.append("status of 422")  # of inputs that do not fit yet
    page = visit.open("#gradients", ready=".node")
    page.get_by_label("Formula").fill(formula)

    expect(page.locator(".row label span")).to_have_text(names)


def test_an_example_is_taken(visit: Visit) -> None:
    page = visit.open("#gradients", ready=".node")
    page.get_by_role("button", name="max(x*y, 0)").click()

    expect(page.locator(".sure")).to_have_text("max(x*y, 0) = 6")
    expect(page.get_by_text("∂/∂x = 3")).to_be_visible()


def test_what_cannot_be_read_is_refused_with_its_place_and_what_stood_there_pales(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open("#gradients", ready=".node")
    page.get_by_label("Formula").fill("sigmoid(x+")

    expect(page.get_by_role("alert")).to_contain_text("at character 8")
    expect(page.locator(".alone")).to_have_count(1)
    assert violations(page) == []
    page.get_by_label("Formula").fill("mean(x)")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_label("x", exact=True).fill("zero")
    expect(page.get_by_role("alert")).to_contain_text('"zero"')


def test_an_example_begins_with_its_gradients_and_another_formula_with_its_own(visit: Visit) -> None:
    page = visit.open("#gradients?formula=&step=1", ready=".view")
    visit.expected.append("status of 422")  # of no formula: the link has it so
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="max(x*y, 0)").click()

    expect(page.locator("output")).to_have_text("2 / 2")
    go_to(page, 0)
    page.get_by_role("button", name="sigmoid(w*x+b)").click()
    expect(page.locator("output")).to_have_text("3 / 3")


def test_nothing_is_pressed_before_there_are_steps(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open("#gradients?formula=x**", ready=".view")
    expect(page.get_by_role("alert")).to_be_visible()

    for name in ("Back", "Play", "On", "To the end"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    page.get_by_label("Formula").fill("toString + 1")
    expect(page.locator(".row label span")).to_have_text(["toString"])
    expect(page.get_by_role("button", name="To the end")).to_be_enabled()


def test_edges_follow_the_width(visit: Visit) -> None:
    page = visit.open("#gradients", ready=".node")
    page.set_viewport_size({"width": 500, "height": 800})
    expect(page.locator(".graph.down")).to_have_count(1)
    ends = page.evaluate(
        """() => {
          const {left, top} = document.querySelector(".graph").getBoundingClientRect();
          const middles = [...document.querySelectorAll(".node")].map((each) => each.getBoundingClientRect())
            .map(({x, y, width, height}) => [x + width / 2 - left, y + height / 2 - top]);
          return [...document.querySelectorAll(".graph polyline")]
            .flatMap(({points}) => [points[0], points[points.length - 1]])
            .map((end) => Math.min(...middles.map(([x, y]) => Math.hypot(end.x - x, end.y - y))));
        }"""
    )

    assert ends and max(ends) < 3


def test_a_long_formula_stays_out_of_the_link(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open("#gradients", ready=".node")
    page.get_by_label("Formula").fill("x+" * 2_500 + "x")
    expect(page.get_by_role("alert")).to_be_visible()
    page.wait_for_url(re.compile("#gradients$"))


def test_what_is_typed_is_not_lost_to_a_quick_change_of_view(visit: Visit) -> None:
    page = visit.open("#gradients", ready=".node")
    page.get_by_label("Formula").fill("sum(x) + 41")
    page.get_by_role("button", name="XOR").click()
    page.locator(".contour").first.wait_for()
    page.get_by_role("button", name="Formula").click()

    expect(page.locator(".sure")).to_have_text("sum(x) + 41 = 45")


def test_what_was_typed_last_says_nothing_in_the_view_that_comes_next(visit: Visit) -> None:
    """The module of the next view is kept back until what was typed would be asked."""
    page = show(visit, "formula")
    page.route("**/descent.js", lambda route: (page.wait_for_timeout(600), route.continue_())[1])
    page.get_by_label("Formula").fill("3 * z")
    page.get_by_role("button", name="Descent").click()
    page.locator(".contour").first.wait_for()

    assert "formula" not in page.evaluate("location.hash")
    page.get_by_role("button", name="Formula").click()
    expect(page.locator(".sure")).to_have_text("3 * z = 3")


def test_long_matrices_are_no_wider_than_a_phone(visit: Visit) -> None:
    rows = [[n / 7 for n in range(12)]] * 4
    page = visit.open(
        f"#gradients?formula=sum(x)&inputs=x={json.dumps(rows)}", ready=".node", viewport=PHONE, touch=True
    )

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_kink_is_noted(visit: Visit) -> None:
    page = visit.open("#gradients?formula=max(x*y%2C 0)&inputs=x=0;y=2", ready=".node")

    expect(page.get_by_text("has no derivative")).to_be_visible()


def test_the_very_call_is_shown(visit: Visit) -> None:
    page = show(visit, "formula")
    page.get_by_text("This very call").click()

    expect(page.locator("code")).to_contain_text("/gradients/expression")
    expect(page.locator("code")).to_contain_text('"inputs":{"w":2,"x":-1,"b":0.5}')


# --- activations -----------------------------------------------------------------------------------------------------


def test_value_and_slope_are_read_at_a_place_that_one_moves(visit: Visit) -> None:
    page = show(visit, "activations", "#gradients?view=activations&function=sigmoid&alpha=2&at=0.5")
    said = page.locator(".sure")

    def expected(x: float, alpha: float) -> list[float]:
        value = sigmoid(alpha * x)
        return [x, value, alpha * value * (1 - value)]

    assert numbers(said.inner_text()) == pytest.approx(expected(0.5, 2), rel=1e-3)
    page.get_by_label("x", exact=True).press("ArrowRight")
    assert numbers(said.inner_text()) == pytest.approx(expected(0.55, 2), rel=1e-3)
    with page.expect_response("**/gradients/activations"):
        page.get_by_label("alpha").fill("3")
    expect(said).to_contain_text(f"{expected(0.55, 3)[2]:.4g}")
    box = page.locator(".plane").bounding_box()
    assert box
    middle, left = box["x"] + box["width"] * (44 + 426 / 2) / 480, box["x"] + box["width"] * (44 + 426 / 4) / 480
    page.mouse.move(middle, box["y"] + box["height"] / 2)
    assert numbers(said.inner_text())[0] == 0.55  # who only passes moves nothing
    page.mouse.down()
    page.mouse.move(left, box["y"] + box["height"] / 2)  # a quarter: −3
    page.mouse.up()
    page.mouse.move(middle, box["y"] + box["height"] / 2)
    assert numbers(said.inner_text())[0] == pytest.approx(-3, abs=0.051)
    page.wait_for_url("**at=-*")
    kept = said.inner_text()
    page.reload()
    expect(said).to_have_text(kept)


def test_the_tangent_touches_the_curve_and_saturated_parts_are_shaded(visit: Visit) -> None:
    page = show(visit, "activations", "#gradients?view=activations&function=relu&at=2")
    shaded = page.locator(".flat")

    assert numbers(page.locator(".sure").inner_text()) == [2, 2, 1]
    expect(shaded).to_have_count(121)  # x from −6 to 0 by 0.05: the slope is 0 there
    page.get_by_role("combobox").select_option("leaky-relu")
    expect(page.get_by_role("slider", name="slope")).to_have_value("0.01")
    page.get_by_role("slider", name="slope").fill("0.2")
    expect(shaded).to_have_count(0)
    page.get_by_label("x", exact=True).fill("-3")
    expect(page.locator(".sure")).to_have_text("At x = -3 the value is -0.6, the slope 0.2.")


def test_a_link_that_says_nonsense_is_taken_as_if_it_said_nothing(visit: Visit) -> None:
    page = show(visit, "activations", "#gradients?view=activations&function=toString&at=abc&alpha=x")
    assert numbers(page.locator(".sure").inner_text()) == pytest.approx(
        [1, sigmoid(1), sigmoid(1) * sigmoid(-1)], rel=1e-3
    )
    page = show(visit, "activations", "#gradients?view=activations&function=sigmoid&at=99&alpha=99")
    assert numbers(page.locator(".sure").inner_text())[0] == 6
    page = show(visit, "descent", "#gradients?view=descent&surface=constructor&x=abc&rates=fast&step=soon")
    expect(page.locator("output").last).to_have_text("300 / 300")
    expect(page.get_by_label("x", exact=True)).not_to_have_value("")


# --- descent ---------------------------------------------------------------------------------------------------------


def losses(page: Page) -> dict[str, str]:
    texts = page.locator("label", has_text="η").all_inner_texts()
    return {name: loss for name, loss in (re.findall(r"^(\w+),.*:\s*(\S+)$", text, re.S)[0] for text in texts)}


def test_optimisers_race_from_one_start(visit: Visit) -> None:
    """Gradient descent in the bowl shrinks both numbers by 1 − rate in each step."""
    page = show(visit, "descent", "#gradients?view=descent&surface=bowl&step=10")

    expect(page.locator("label", has_text="η")).to_have_count(5)
    assert float(losses(page)["sgd"]) == pytest.approx(12.5 * 0.9**20, rel=5e-3)
    velocity, point = np.zeros(2), np.array([4.0, 3.0])
    for _ in range(10):
        velocity = 0.9 * velocity + point
        point = point - 0.02 * velocity
    assert float(losses(page)["momentum"]) == pytest.approx(point @ point / 2, rel=5e-3)
    go_to(page, 0)
    assert set(losses(page).values()) == {"12.5"}
    page.get_by_role("button", name="To the end").click()
    expect(page.locator("output").last).to_have_text("300 / 300")


def test_another_start_is_clicked_or_typed_and_stands_in_the_link(visit: Visit) -> None:
    page = show(visit, "descent", "#gradients?view=descent&surface=bowl")
    box = page.locator(".plane").first.bounding_box()
    assert box
    at_half = ((44 + 426 / 2) / 480, (10 + 362 / 2) / 400)
    with page.expect_response("**/train/bowl"):
        page.mouse.click(box["x"] + box["width"] * at_half[0], box["y"] + box["height"] * at_half[1])
    expect(page.get_by_label("x", exact=True)).not_to_have_value("4")
    assert abs(float(page.get_by_label("x", exact=True).input_value())) < 0.05
    page.get_by_label("x", exact=True).fill("-2")
    page.get_by_label("y", exact=True).fill("1")
    go_to(page, 0)
    expect(page.get_by_text("adam, η").locator("output")).to_have_text("2.50")
    page.wait_for_url(re.compile(r"(?=.*step=0).*x=-2"))
    page.reload()
    expect(page.get_by_text("adam, η").locator("output")).to_have_text("2.50")


def test_the_surface_is_that_of_the_paths(visit: Visit) -> None:
    page = show(visit, "descent", "#gradients?view=descent&surface=ravine")
    lines = "[...document.querySelectorAll('.contour')].map((each) => each.getAttribute('d')).join()"
    ravine = page.evaluate(lines)
    held: list[Route] = []
    late = True
    page.route("**/train/*", lambda route: held.append(route) if late else route.continue_())
    chosen = page.get_by_role("combobox")
    chosen.select_option("rosenbrock")
    until(page, lambda: len(held) == 5)
    chosen.select_option("ravine")
    late = False
    with page.expect_response("**/train/ravine"):
        for each in held:
            each.continue_()

    page.wait_for_function(f"ravine => {lines} === ravine", arg=ravine)


def test_a_start_of_no_finite_height_is_refused(visit: Visit) -> None:
    page = visit.open("#gradients?view=descent&surface=bowl&x=1e200&y=1", ready=".refusal:not([hidden])")

    expect(page.locator(".refusal")).to_contain_text("Loss (1e+200, 1) = ∞")
    page.get_by_label("x", exact=True).fill("1")
    expect(page.locator(".contour").first).to_be_visible()


def test_problems_that_were_refused_are_asked_for_again(visit: Visit) -> None:
    visit.expected.append("status of 500")
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    page.route("**/train", lambda route: route.fulfill(status=500, content_type="application/json", body="{}"), times=1)
    page.goto(f"{visit.server.url}/#gradients?view=descent&surface=bowl")
    expect(page.locator(".refusal")).to_be_visible()
    page.get_by_label("x", exact=True).fill("1")

    expect(page.locator(".contour").first).to_be_visible()


def test_numbers_beside_the_loss_are_where_they_stand(visit: Visit) -> None:
    """On a logarithmic axis within 3 %; and what diverges is drawn without a complaint in the console."""
    page = show(
        visit, "descent", "#gradients?view=descent&surface=ravine&rates=1&without=momentum.nesterov.rmsprop.adam"
    )
    texts = page.locator("figure .plane").nth(1).locator("text[text-anchor=end]")
    values = [float(each) for each in texts.all_text_contents()]
    apart = np.diff(np.log10(values))

    assert len(values) > 2
    assert 10**apart == pytest.approx(10 ** np.round(apart.mean(), 1), rel=0.03)


def test_a_rate_that_is_too_large_diverges(visit: Visit) -> None:
    page = show(visit, "descent")
    page.get_by_label("Learning rates").fill("1")

    expect(page.get_by_text("sgd, η = 0.01:").locator("output")).to_have_text("∞")


def test_who_races_can_be_chosen_and_the_link_says_so(visit: Visit) -> None:
    page = show(visit, "descent")
    curves = page.locator("figure .plane").nth(1).locator("path")
    expect(curves).to_have_count(5)
    page.get_by_label("rmsprop").uncheck()

    expect(curves).to_have_count(4)
    page.wait_for_url("**without=rmsprop*")
    page.reload()
    expect(curves).to_have_count(4)
    expect(page.get_by_label("rmsprop")).not_to_be_checked()


def test_contours_lie_where_the_surface_has_their_height(visit: Visit) -> None:
    """In the bowl they are circles: all points of one are as far from the middle."""
    page = show(visit, "descent", "#gradients?view=descent&surface=bowl")
    paths = [
        numbers(str(each.get_attribute("d")).replace("M", " ").replace("L", " "))
        for each in page.locator(".contour").all()
    ]

    assert len(paths) == 14
    inner = np.array(paths[2]).reshape(-1, 2)
    places = (inner - [44 + 426 / 2, 10 + 362 / 2]) / [426 / 10, 362 / 10]
    radii = np.hypot(*places.T)
    assert radii.max() - radii.min() < 0.02


def test_it_plays_by_itself_and_stops(visit: Visit) -> None:
    page = show(visit, "descent", "#gradients?view=descent&surface=bowl&step=0")
    slider = page.get_by_role("slider", name="Step")
    page.get_by_role("button", name="Play").click()
    expect(slider).to_have_value(re.compile(r"\d{2,}"))
    page.get_by_role("button", name="Stop").click()
    stopped = slider.input_value()
    page.wait_for_timeout(200)

    assert slider.input_value() == stopped


def test_who_plays_and_stops_and_plays_goes_no_faster(visit: Visit) -> None:
    page = visit.open("#gradients?step=0", ready=".node")
    play = page.locator(".view button", has_text=re.compile("[▷‖]"))
    page.clock.install()
    for _ in range(3):
        play.click()
    page.clock.run_for(750)

    expect(page.locator("output")).to_have_text("1 / 4")


def test_nothing_plays_where_motion_is_not_wanted(visit: Visit) -> None:
    page = visit.browser.new_context(locale="en-GB", reduced_motion="reduce").new_page()
    visit.watch(page)
    page.goto(f"{visit.server.url}/#gradients?view=descent&step=0")

    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_hidden()


# --- XOR -------------------------------------------------------------------------------------------------------------


def trained(server: Server, steps: int, seed: int) -> Any:
    body = json.dumps({"optimiser": "adam", "learning_rate": 0.05, "seed": seed, "steps": steps}).encode()
    request = urllib.request.Request(f"{server.url}/train/xor", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["steps"][-1]


def test_xor_is_learned_while_one_looks(visit: Visit) -> None:
    page = visit.open("#gradients?view=xor", ready=".contour")
    said = page.locator(".sure")
    first = trained(visit.server, 0, 1)
    assert numbers(said.inner_text()) == pytest.approx([first["loss"], 4 * first["accuracy"], 4], rel=5e-3)
    page.get_by_role("button", name="Play").click()
    expect(said).to_contain_text("4 of 4 right")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_url(re.compile(f"step={page.get_by_role('slider').input_value()}$"))
    kept = said.inner_text()
    page.reload()
    page.wait_for_selector(".contour")

    expect(said).to_have_text(kept)


def test_it_goes_on_from_where_the_last_piece_ended(visit: Visit) -> None:
    page = visit.open("#gradients?view=xor&seed=3", ready=".contour")
    for _ in range(3):
        page.get_by_role("button", name="To the end").click()
    expect(page.locator("output")).to_have_text(re.compile(r"[23]00 / [23]00"))
    steps = int(page.get_by_role("slider").input_value())

    last = trained(visit.server, steps, 3)
    assert numbers(page.locator(".sure").inner_text())[0] == pytest.approx(last["loss"], rel=5e-3)


def test_training_to_a_step_of_the_link_is_stopped_and_gone_on_with(visit: Visit) -> None:
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    asked: list[Route] = []

    def slow(route: Route) -> None:
        asked.append(route)
        if len(asked) < 3:
            route.continue_()

    page.route("**/train/xor", slow)
    page.goto(f"{visit.server.url}/#gradients?view=xor&step=250&seed=3")
    until(page, lambda: len(asked) == 3)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("output")).to_have_text("200 / 200")
    page.wait_for_timeout(400)
    assert len(asked) == 3
    assert "step=250" in page.url
    page.unroute("**/train/xor")
    page.reload()
    expect(page.locator("output")).to_have_text("250 / 300")
    last = trained(visit.server, 250, 3)
    assert numbers(page.locator(".sure").inner_text())[0] == pytest.approx(last["loss"], rel=5e-3)


def test_the_caption_says_that_a_line_parts_it_only_where_one_does(visit: Visit) -> None:
    parted = "The same plane, folded by the layers: one line parts it"
    for seed, right in ((1, 4), (4, None)):
        page = visit.open(f"#gradients?view=xor&step=200&seed={seed}", ready="circle")
        wanted = trained(visit.server, 200, seed)["accuracy"] == 1
        assert wanted is (right == 4)
        expect(page.get_by_text(parted)).to_have_count(int(wanted))
    # Two corners in one place: each is to be seen.
    circles = page.locator("figure").nth(1).locator("circle").all()
    drawn = [[float(str(each.get_attribute(name))) for name in ("cx", "cy", "r")] for each in circles]
    for n, (x, y, radius) in enumerate(drawn):
        for other_x, other_y, other in drawn[n + 1 :]:
            assert math.hypot(x - other_x, y - other_y) + radius > other + 2


def test_the_network_of_the_page_is_that_of_the_service(visit: Visit) -> None:
    """The corners lie in the folded plane where NumPy puts them by the weights that are told."""
    page = visit.open("#gradients?view=xor&step=60", ready=".contour")
    weights = {name: np.array(each) for name, each in trained(visit.server, 60, 1)["weights"].items()}
    hidden = np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    for layer in (1, 2):
        hidden = np.maximum(hidden @ weights[f"weight{layer}"].T + weights[f"bias{layer}"], 0)
    out = hidden @ weights["weight3"].T + weights["bias3"]
    wanted = np.column_stack([out[:, 1] - out[:, 0], hidden.sum(1)])

    circles = page.locator("figure").nth(1).locator("circle").all()
    places = np.array([[float(str(each.get_attribute(name))) for name in ("cx", "cy")] for each in circles])
    # By the first and the last corner how large it is drawn; all others have to agree with that.
    for axis in (0, 1):
        scale, origin = np.polyfit(wanted[:, axis], places[:, axis], 1)
        assert scale * wanted[:, axis] + origin == pytest.approx(places[:, axis], abs=1e-6)


def test_the_call_of_a_stream_can_be_made_by_python(visit: Visit) -> None:
    page = visit.open("#gradients?view=xor", ready=".contour")
    page.get_by_text("This very call").click()
    expect(page.locator("code")).to_contain_text("Accept: text/event-stream")
    page.get_by_role("button", name="Python").click()
    expect(page.locator("code")).to_contain_text("import json")
    written = page.locator("code").inner_text()

    told = subprocess.run([sys.executable, "-c", written], capture_output=True, text=True, check=True).stdout
    assert told.count("event: step") == 101
    assert told.rstrip().rpartition("event: ")[2].startswith("end\n")


def test_a_seed_that_is_none_is_refused(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open("#gradients?view=xor", ready=".contour")
    page.get_by_label("Seed").fill("-1")

    expect(page.get_by_role("alert")).to_contain_text("seed is -1")
    page.get_by_label("Seed").fill("2")
    expect(page.get_by_role("alert")).to_be_hidden()
    first = trained(visit.server, 0, 2)
    assert numbers(page.locator(".sure").inner_text())[0] == pytest.approx(first["loss"], rel=5e-3)


def test_a_stream_that_breaks_off_is_asked_for_again(visit: Visit) -> None:
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    left = [1]

    def broken(route: Route) -> None:
        if not left:
            return route.continue_()
        left.pop()
        text = route.fetch().text()
        return route.fulfill(content_type="text/event-stream", body=text[: len(text) // 2])

    page.route("**/train/xor", broken)
    page.goto(f"{visit.server.url}/#gradients?view=xor")
    expect(page.get_by_role("alert").first).to_contain_text("The service does not answer.")

    expect(page.locator("output")).to_have_text("0 / 100")


# --- the frame -------------------------------------------------------------------------------------------------------


def test_views_are_chosen_by_the_keyboard_and_keep_what_they_had(visit: Visit) -> None:
    page = show(visit, "formula")
    page.get_by_role("button", name="Formula").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".plane")).to_be_visible()
    page.wait_for_url("**view=activations*")
    page.get_by_label("x", exact=True).focus()
    page.keyboard.press("Home")
    expect(page.locator(".sure")).to_contain_text("At x = -6")
    page.get_by_role("button", name="Formula").click()

    expect(page.locator(".sure")).to_contain_text("sigmoid(w*x+b)")
    page.get_by_role("button", name="Activations").click()
    expect(page.locator(".sure")).to_contain_text("At x = -6")


@pytest.mark.parametrize("width", [360, 390, 600])
def test_every_panel_can_be_reached_in_a_narrow_window(visit: Visit, width: int) -> None:
    page = show(visit, "activations", viewport={"width": width, "height": 844})

    for link in page.locator("#panels a").all():
        box = link.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate(
        "document.querySelector('#panels').scrollWidth <= document.querySelector('#panels').clientWidth"
    )


@pytest.mark.parametrize("view", VIEWS)
def test_it_speaks_korean_and_needs_no_sideways_scroll_on_a_phone(visit: Visit, view: str) -> None:
    page = show(visit, view, viewport=PHONE, touch=True, language="ko-KR")

    expect(page.get_by_role("heading")).to_have_text("기울기")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_service_that_goes_away_is_told_and_asked_again(visit: Visit, restart: Callable[[], None]) -> None:
    page = show(visit, "formula")
    visit.server.stop()
    page.get_by_label("x", exact=True).fill("3")
    expect(page.get_by_role("alert").first).to_contain_text("The service does not answer.")
    assert violations(page) == []
    restart()

    expect(page.locator(".sure")).to_have_text(f"sigmoid(w*x+b) = {sigmoid(6.5):.4g}")


def test_a_slow_answer_is_waited_for_in_words_and_may_be_stopped(visit: Visit) -> None:
    page = show(visit, "activations")
    page.route("**/gradients/activations", lambda route: None)
    page.get_by_label("alpha").fill("3")
    expect(page.get_by_text("Waiting for the answer…")).to_be_visible()
    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_text("Waiting for the answer…")).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_and_pictures_are_taken(visit: Visit, screenshots: Path, view: str, theme: str) -> None:
    page = show(visit, view, theme=theme)
    page.wait_for_load_state("networkidle")

    assert violations(page) == []
    page.screenshot(path=screenshots / f"gradients-{view}-{theme}.png", full_page=True)
    phone = show(visit, view, theme=theme, viewport=PHONE, touch=True)
    phone.wait_for_load_state("networkidle")
    phone.screenshot(path=screenshots / f"gradients-{view}-phone-{theme}.png", full_page=True)


def test_a_training_that_breaks_off_after_its_first_step_is_drawn_and_goes_on(visit: Visit) -> None:
    """One step has no length that an axis could be divided by; whatever is no number is told in the console."""
    body = {"optimiser": "adam", "learning_rate": 0.05, "seed": 1, "steps": 1}
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    asked = urllib.request.Request(f"{visit.server.url}/train/xor", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked) as answer:
        first = answer.read().decode().split("\n\n")[0] + "\n\n"
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    page.route(
        "**/train/xor",
        lambda route: route.fulfill(content_type="text/event-stream", body=first),
        times=1,
    )
    page.goto(f"{visit.server.url}/#gradients?view=xor")

    expect(page.locator(".sure")).to_contain_text("Loss")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    expect(page.get_by_role("alert")).to_be_hidden()
