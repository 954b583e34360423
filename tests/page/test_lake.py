"""The panel "FrozenLake": the map, what the network expects, and walks as the environment would have them."""

import json
import math
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests.onnx_models import doubling_graph, write_model
from tests.page.conftest import PHONE, Visit
from tests.page.hand import violations
from tests.served import Server
from training.frozenlake import ACTION_NAMES, GOAL, STATES, lake, success_within

FIRM, SLIPPERY = "frozenlake-dqn", "frozenlake-slippery-dqn"
READY = ".ice [data-sign]"


def told(server: Server, model: str) -> list[dict[str, Any]]:
    """What the API says of all states."""
    body = json.dumps({"rows": [[state] for state in range(STATES)]}).encode()
    request = urllib.request.Request(f"{server.url}/predict/{model}", body, {"Content-Type": "application/json"})
    predictions: list[dict[str, Any]] = json.load(urllib.request.urlopen(request))["predictions"]
    return predictions


def walks(page: Page, best: list[int], starts: list[int], slippery: bool, seeds: int) -> list[list[dict[str, int]]]:
    """From each start with each seed, as the page reckons them."""
    found: list[list[dict[str, int]]] = page.evaluate(
        """async ([best, starts, slippery, seeds]) => {
            const { walk } = await import("/page/lake.js");
            const each = (from) => Array.from({ length: seeds }, (_, seed) => walk(best, from, slippery, seed));
            return starts.flatMap(each);
        }""",
        [best, starts, slippery, seeds],
    )
    return found


def status(page: Page) -> str:
    return page.get_by_role("status").inner_text()


def test_the_map_shows_the_way_that_the_network_takes_and_its_numbers(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    predictions = told(visit.server, FIRM)

    signs = page.locator(".ice input").evaluate_all("cells => cells.map((cell) => cell.dataset.sign)")
    tiles = lake(False).tiles
    arrows = ["←↓→↑"[each["index"]] for each in predictions]
    assert signs == ["S" + arrows[0], *({"H": "●", "G": "★"}.get(tiles[n], arrows[n]) for n in range(1, STATES))]
    page.get_by_role("radio", name="Row 3, column 2, ice").check()
    values = page.locator(".bars .value").all_inner_texts()
    assert [float(each) for each in values] == pytest.approx(predictions[9]["outputs"]["q_values"], abs=5.1e-5)
    expect(page.locator(".bars .best")).to_contain_text(ACTION_NAMES[predictions[9]["index"]])
    expect(page).to_have_url(re.compile(re.escape("#lake?from=9") + "$"))


def test_on_firm_ice_a_walk_is_the_roll_out_that_the_model_tells(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    predictions = told(visit.server, FIRM)
    found = walks(page, [each["index"] for each in predictions], list(range(STATES)), False, 1)

    for state, steps in enumerate(found):
        rollout = predictions[state]["outputs"]["rollout"]
        assert [state, *(step["state"] for step in steps)] == [each for each in rollout if each >= 0]


def test_on_slippery_ice_a_step_is_the_environments_and_as_many_come_to_the_goal(visit: Visit) -> None:
    page = visit.open(f"#lake?model={SLIPPERY}", ready=READY)
    seeds, real = 3_000, lake(True)
    policy = np.array([each["index"] for each in told(visit.server, SLIPPERY)])
    found = walks(page, policy.tolist(), [0], True, seeds)

    slips = np.zeros(3, np.int64)
    for steps in found:
        state = 0
        for step in steps:
            assert step["wanted"] == policy[state]
            assert real.chances[state, step["wanted"], step["state"]] > 0
            slips[(step["way"] - step["wanted"] + 1) % 4] += 1
            state = step["state"]
        assert real.over[state] or len(steps) == 100
    total = int(slips.sum())
    assert np.abs(slips / total - 1 / 3).max() < 4 * math.sqrt(2 / 9 / total)
    expected = float(success_within(real, policy)[0])
    reached = sum(steps[-1]["state"] == GOAL for steps in found) / seeds
    assert reached == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / seeds))


def test_one_goes_step_by_step_forward_and_back_with_the_keyboard(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    assert status(page) == "Begins here: start. Takes 6 steps."
    slider = page.get_by_role("slider", name="Step")
    slider.press("ArrowRight")
    assert status(page) == "Step 1 of 6: wanted down, went down. Now: ice."
    slider.press("End")
    assert status(page) == "Step 6 of 6: wanted right, went right. Now: goal."
    expect(page.get_by_role("radio", name="Row 4, column 4, goal")).to_have_class("here")
    slider.press("ArrowLeft")

    assert status(page).startswith("Step 5 of 6")
    expect(page).to_have_url(re.compile(re.escape("#lake?step=5") + "$"))
    page.reload()
    page.wait_for_selector(READY)
    assert status(page).startswith("Step 5 of 6")


def test_arrow_keys_choose_where_to_begin_and_the_edge_holds(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    page.get_by_role("radio", name="Row 1, column 1").focus()
    for key, name in (
        ("ArrowDown", "Row 2, column 1"),
        ("ArrowLeft", "Row 2, column 1"),
        ("ArrowRight", "Row 2, column 2, hole"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("radio", name=name)).to_be_focused()
        expect(page.get_by_role("radio", name=name)).to_be_checked()

    assert status(page) == "Begins here: hole. Takes 0 steps."
    expect(page).to_have_url(re.compile(re.escape("#lake?from=5") + "$"))


def test_on_slippery_ice_the_page_says_where_one_slid_and_a_link_has_the_same_walk(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    page.get_by_role("button", name="Slippery").click()
    expect(page.get_by_role("button", name="Slippery")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Slip otherwise")).to_be_visible()
    page.get_by_role("button", name="Slip otherwise").click()
    page.get_by_role("button", name="Slip otherwise").click()
    expect(page).to_have_url(re.compile(re.escape(f"#lake?model={SLIPPERY}&seed=2") + "$"))
    policy = [each["index"] for each in told(visit.server, SLIPPERY)]
    steps = walks(page, policy, [0], True, 3)[2]
    n, slid = next((n, step) for n, step in enumerate(steps, 1) if step["way"] != step["wanted"])
    page.get_by_role("slider").fill(str(n))
    page.wait_for_url(f"**&step={n}")

    before = steps[n - 2]["state"] if n > 1 else 0
    went = "nowhere" if slid["state"] == before else ACTION_NAMES[slid["way"]]
    sentence = f"Step {n} of {len(steps)}: wanted {ACTION_NAMES[slid['wanted']]}, went {went}. Now: "
    assert status(page).startswith(sentence)
    again = visit.open(page.url.rpartition("/")[2], ready=READY)
    assert status(again) == status(page)


def test_a_walk_is_played_and_stopped(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    page.get_by_role("button", name="Walk").click()
    expect(page.get_by_role("status")).to_contain_text(re.compile("Step [1-5] of 6"))
    page.get_by_role("button", name="Stop").click()
    stopped = status(page)
    page.wait_for_timeout(900)
    assert status(page) == stopped
    page.get_by_role("button", name="Walk").click()
    expect(page.get_by_role("status")).to_contain_text("Step 6 of 6")

    expect(page.get_by_role("button", name="Walk")).to_be_visible()
    page.get_by_role("button", name="Walk").click()  # from the beginning
    expect(page.get_by_role("status")).to_contain_text(re.compile("Begins here|Step [1-5] of 6"))
    page.get_by_role("link", name="Recognise").click()
    page.wait_for_selector(".sheet")
    page.wait_for_timeout(900)
    assert "lake" not in page.url  # nobody goes on walking behind another panel


@pytest.mark.parametrize("query", ["from=16", "from=-1&step=x", "step=1e3&seed=0x2", "model=digits&from=5.5"])
def test_a_link_that_nobody_wrote_here_is_read_as_far_as_it_makes_sense(visit: Visit, query: str) -> None:
    page = visit.open(f"#lake?{query}", ready=READY)

    assert re.match(r"Begins here: (start|goal)\.", status(page))


def test_the_very_call_gives_what_is_shown(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    page.get_by_text("This very call").click()

    expect(page.locator("code")).to_contain_text('"rows":[[0],[1],')
    expect(page.locator("code")).to_contain_text(f"/predict/{FIRM}")


def test_while_nothing_has_come_it_is_asked_once_and_nobody_walks(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    page.get_by_role("button", name="Walk").click()
    asked: list[Route] = []
    page.route(f"**/predict/{SLIPPERY}", lambda route: asked.append(route))
    page.get_by_role("button", name="Slippery").click()
    page.wait_for_timeout(1_600)

    assert len(asked) == 1
    expect(page.get_by_role("button", name="Stop").first).to_be_disabled()


def test_the_call_is_that_of_the_ice_that_is_shown(visit: Visit) -> None:
    page = visit.open("#lake", ready=READY)
    asked: list[Route] = []
    page.route(f"**/predict/{SLIPPERY}", lambda route: asked.append(route))
    page.get_by_text("This very call").click()
    with page.expect_request(f"**/predict/{SLIPPERY}"):
        page.get_by_role("button", name="Slippery").click()
    page.get_by_role("button", name="Firm ice").click()
    asked[0].continue_()
    page.wait_for_timeout(300)

    expect(page.locator("code")).to_contain_text(f"/predict/{FIRM} ".strip())
    expect(page.locator("code")).not_to_contain_text(SLIPPERY)
    expect(page.get_by_role("button", name="Walk")).to_be_enabled()


def test_keys_of_the_browser_are_left_to_it(visit: Visit) -> None:
    page = visit.open("#lake?from=5", ready=READY)
    page.get_by_role("radio", name="Row 2, column 2").focus()
    prevented = page.evaluate(
        """() => !document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key: "ArrowLeft", altKey: true, cancelable: true, bubbles: true }))"""
    )

    assert not prevented
    expect(page.get_by_role("radio", name="Row 2, column 2")).to_be_checked()


@pytest.fixture
def without_lakes(tmp_path: Path, visit: Visit) -> Iterator[None]:
    folder = tmp_path / "artifacts"
    write_model(folder, doubling_graph(), "own")
    visit.expected.append("status of 404")
    visit.server = Server(tmp_path / "log", models=1, PERCEPT_ARTIFACTS=str(folder), PERCEPT_WORKERS="1")
    yield
    visit.server.stop()


@pytest.mark.usefixtures("without_lakes")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_without_the_model_the_page_says_so(visit: Visit, theme: str) -> None:
    page = visit.open("#lake", ready=".refusal:not([hidden])", theme=theme)

    expect(page.get_by_role("alert")).to_contain_text("There is no such model")
    expect(page.locator(".ice")).to_be_hidden()
    assert violations(page) == []


def test_a_service_that_goes_away_is_told_and_asked_again(visit: Visit, restart: Callable[[], None]) -> None:
    page = visit.open("#lake", ready=READY)
    visit.server.stop()
    page.get_by_role("button", name="Slippery").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    assert violations(page) == []
    restart()

    expect(page.get_by_role("status")).not_to_contain_text("Takes 6 steps")
    expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_picture_is_taken(visit: Visit, screenshots: Path, theme: str) -> None:
    page = visit.open(f"#lake?model={SLIPPERY}&seed=3&step=5", ready=READY, theme=theme)
    page.get_by_text("This very call").click()
    assert violations(page) == []
    page.get_by_text("This very call").click()
    page.screenshot(path=screenshots / f"lake-{theme}.png", full_page=True)


def test_nothing_walks_by_itself_where_motion_is_not_wanted(visit: Visit) -> None:
    page = visit.browser.new_context(locale="en-GB", reduced_motion="reduce").new_page()
    page.goto(f"{visit.server.url}/#lake")
    expect(page.locator(READY).first).to_be_visible()

    expect(page.get_by_role("button", name="Walk")).to_be_hidden()
    page.get_by_role("slider").press("ArrowRight")
    expect(page.get_by_role("slider")).to_have_value("1")
    page.context.close()


def test_a_phone_needs_no_sideways_scroll_and_korean_is_spoken(visit: Visit, screenshots: Path) -> None:
    page = visit.open("#lake?step=2", ready=READY, viewport=PHONE, touch=True, language="ko-KR")

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert status(page) == "6걸음 중 2걸음째 · 의도: 아래, 실제: 아래 · 현재: 얼음"
    expect(page.locator(".ice")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("slider")).to_be_in_viewport()
    page.screenshot(path=screenshots / "lake-phone.png", full_page=True)
