"""The panel "Points": k-means by rounds, the plane of a support vector machine, Iris while one slides."""

import json
import re
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, Route, expect
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs, make_moons
from sklearn.svm import SVC

from tests.page.conftest import PHONE, Visit
from tests.page.hand import Held, violations
from tests.served import Server
from training.clusters import PLAYERS

Place = tuple[float, float]
X, Y = (0, 120), (0, 80)
LEFT, RIGHT, TOP, HEIGHT, BOTTOM = 44, 470, 10, 322, 294  # of the drawing, 480 wide
# Two groups, so that starts in one of them take some rounds.
POINTS: tuple[Place, ...] = ((10, 10), (20, 10), (10, 20), (30, 22), (90, 60), (100, 60), (100, 70), (86, 44))
STARTS: tuple[Place, ...] = ((10, 10), (20, 10))
LINK = "#points?points=" + ".".join(str(value) for place in POINTS for value in place)
READY = "svg.plane path"
WRITTEN_MS = 400


def board(page: Page) -> Locator:
    return page.get_by_role("application")


def pointed(page: Page, place: Place) -> Place:
    """Where a place of k-means's plane is on the screen."""
    box = board(page).bounding_box()
    assert box is not None
    x = LEFT + (place[0] - X[0]) / (X[1] - X[0]) * (RIGHT - LEFT)
    y = BOTTOM - (place[1] - Y[0]) / (Y[1] - Y[0]) * (BOTTOM - TOP)
    return box["x"] + x * box["width"] / 480, box["y"] + y * box["height"] / HEIGHT


def click(page: Page, place: Place) -> None:
    page.mouse.click(*pointed(page, place))


def marks(page: Page, kind: str = ".spot:not(.centre):not(.side)") -> list[Place]:
    """Where marks are, in units of the drawing."""
    transforms = board(page).locator(kind).evaluate_all("all => all.map(each => each.getAttribute('transform'))")
    return [tuple(float(each) for each in re.findall(r"-?[\d.]+", text)[:2]) for text in transforms]


def shown(page: Page) -> NDArray[np.float64]:
    """The centres, in units of the points."""
    drawn = np.array(marks(page, ".centre"))
    return np.stack(
        [(drawn[:, 0] - LEFT) / (RIGHT - LEFT) * X[1], (BOTTOM - drawn[:, 1]) / (BOTTOM - TOP) * Y[1]], axis=1
    )


def kept(page: Page) -> dict[str, str]:
    """Of the link, when it is written: some time after the last change."""
    link = str(page.evaluate(f"new Promise((read) => setTimeout(() => read(location.href), {WRITTEN_MS}))"))
    return {name: values[0] for name, values in parse_qs(link.split("?", 1)[1], keep_blank_values=True).items()}


def told(page: Page) -> Locator:
    return page.get_by_role("status").first


def number(page: Page) -> tuple[int, int, int]:
    """Round, rounds, inertia."""
    expect(told(page)).to_have_text(re.compile(r"^Inertia [\d,]+$"))
    found = told(page).inner_text().removeprefix("Inertia ")
    place, of = place_of(page).inner_text().split(" / ")
    return int(place), int(of), int(found.replace(",", ""))


def place_of(page: Page) -> Locator:
    return page.locator(".row:has([type=range]) output")


def rounds_of(points: NDArray[np.float64], centres: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], float]]:
    """Lloyd's, by NumPy: centres and inertia of each round."""
    rounds: list[tuple[NDArray[np.float64], float]] = []
    before = None
    while True:
        squares = ((points[:, None] - centres) ** 2).sum(2)
        nearest = squares.argmin(1)
        rounds.append((centres, float(squares.min(1).sum())))
        if before is not None and np.array_equal(before, nearest):
            return rounds
        before = nearest
        centres = np.stack([points[nearest == each].mean(0) for each in range(len(centres))])


def asked(server: Server, path: str, value: Any) -> Any:
    request = urllib.request.Request(
        f"{server.url}/{path}", json.dumps(value).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request))


# --- k-means ---------------------------------------------------------------------------------------------------------


def test_rounds_from_centres_placed_by_hand_are_those_of_lloyd(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2", ready=READY)
    page.get_by_role("button", name="by hand").click()
    expect(told(page)).to_have_text("Click where 2 centres start.")
    for place in STARTS:
        click(page, place)
    expect(told(page)).to_contain_text("Inertia")
    expected = rounds_of(np.array(POINTS, float), np.array(STARTS, float))
    assert len(expected) > 2
    page.get_by_role("slider").fill("1")

    for n, (centres, inertia) in enumerate(expected, start=1):
        assert number(page) == (n, len(expected), round(inertia))
        assert shown(page) == pytest.approx(centres, abs=0.01)
        assert board(page).locator(".trail").count() == (2 if n > 1 else 0)
        page.get_by_role("button", name="On", exact=True).click()
    page.get_by_role("button", name="Back", exact=True).click()
    assert number(page)[0] == len(expected) - 1
    page.get_by_role("slider").press("ArrowLeft")
    assert number(page)[0] == len(expected) - 2


def test_where_it_comes_to_rest_is_scikit_learns_and_clusters_differ_in_colour_and_shape(visit: Visit) -> None:
    page = visit.open("#points", ready=".centre")
    points = np.array(re.findall(r"(\d+)\.(\d+)", kept(page)["points"]), float)
    best = KMeans(n_clusters=3, n_init=10, tol=0, random_state=0).fit(points)

    assert len(points) == 36
    assert number(page)[2] == round(best.inertia_)
    ours, theirs = (each[each[:, 0].argsort()] for each in (shown(page), best.cluster_centers_))
    assert ours == pytest.approx(theirs, abs=0.01)
    drawn = board(page).locator(".spot:not(.centre)")
    looks = drawn.evaluate_all("all => all.map(each => [each.getAttribute('d'), getComputedStyle(each).fill].join())")
    assert [len(set(looks)), len({each.split(",")[0] for each in looks})] == [3, 3]
    assert len({each.split(",", 1)[1] for each in looks}) == 3


def test_each_point_looks_as_its_own_cluster(visit: Visit) -> None:
    """As many left as right, so that their number would not tell."""
    places = [(x + n, 20) for n in range(6) for x in (5, 40)]
    link = ".".join(str(value) for place in places for value in place)
    page = visit.open(f"#points?k=2&points={link}", ready=".centre")
    spots = board(page).locator(".spot:not(.centre)")
    fills = spots.evaluate_all("all => all.map(each => getComputedStyle(each).fill)")
    middle = float(np.mean([x for x, _ in marks(page)]))
    left, right = (
        {fill for fill, (x, _) in zip(fills, marks(page), strict=True) if (x < middle) is here}
        for here in (True, False)
    )

    assert len(fills) == len(places)
    assert len(left) == len(right) == 1
    assert left != right


def test_points_are_placed_moved_and_taken_away(visit: Visit) -> None:
    page = visit.open("#points?points=&k=2", ready="svg.plane")
    expect(told(page)).to_have_text("Place 2 points or more.")
    for place in ((30.0, 40.0), (60.0, 20.0), (90.0, 60.0)):
        click(page, place)
    expect(told(page)).to_contain_text("Inertia")
    assert kept(page)["points"] == "30.40.60.20.90.60"
    page.mouse.move(*pointed(page, (60, 20)))
    page.mouse.down()
    page.mouse.move(*pointed(page, (70, 30)), steps=4)
    page.mouse.up()
    assert kept(page)["points"] == "30.40.70.30.90.60"
    click(page, (30, 40))
    expect(board(page).locator(".spot:not(.centre)")).to_have_count(2)
    assert kept(page)["points"] == "70.30.90.60"
    expect(told(page)).to_contain_text("Inertia 0")
    page.get_by_role("button", name="Clear").click()

    expect(board(page).locator(".spot")).to_have_count(0)
    expect(told(page)).to_have_text("Place 2 points or more.")
    click(page, (30, 40))
    fill = board(page).locator(".spot").evaluate("each => getComputedStyle(each).fill")
    assert fill == page.locator(".hint").first.evaluate("each => getComputedStyle(each).color")  # of no cluster yet
    page.get_by_role("button", name="Three groups").click()
    expect(board(page).locator(".spot:not(.centre)")).to_have_count(36)


def test_the_players_of_the_course_are_there(visit: Visit) -> None:
    page = visit.open("#points?k=2", ready=".centre")
    page.get_by_role("button", name="Players").click()
    expect(board(page).locator(".spot:not(.centre)")).to_have_count(40)
    points = np.array(re.findall(r"(\d+)\.(\d+)", kept(page)["points"]), float)

    assert np.array_equal(points, PLAYERS.numpy() * [1, 8] + [0, 28])
    inertia = round(KMeans(2, n_init=10, tol=0, random_state=0).fit(points).inertia_)
    expect(told(page)).to_have_text(f"Inertia {inertia:,}")


def test_nothing_is_asked_of_who_has_placed_enough_and_no_control_moves(visit: Visit) -> None:
    page = visit.browser.new_context(locale="en-GB").new_page()
    visit.watch(page)
    held = Held(page, "**/cluster/fit")
    page.goto(f"{visit.server.url}/#points")
    seed = page.get_by_label("Seed", exact=True)
    expect(seed).to_be_visible()
    before = seed.bounding_box()
    expect(told(page)).to_have_text("")
    held.release(page)
    expect(told(page)).to_contain_text("Inertia")

    assert seed.bounding_box() == before


def test_a_hand_that_drags_is_answered_meanwhile(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2", ready=".centre")
    inertia = number(page)[2]
    page.mouse.move(*pointed(page, POINTS[3]))
    page.mouse.down()
    page.mouse.move(*pointed(page, (60, 70)), steps=5)

    expect(told(page)).not_to_contain_text(f"Inertia {inertia:,}")
    page.mouse.up()


def test_the_keyboard_places_and_takes_away(visit: Visit) -> None:
    page = visit.open("#points?points=&k=1", ready="svg.plane")
    expect(page.locator(".cross")).to_be_hidden()
    board(page).focus()
    for keys in (["Enter"], ["ArrowRight"] * 3 + ["ArrowUp", "Shift+ArrowUp", "Enter"]):
        for key in keys:
            page.keyboard.press(key)
    expect(page.locator(".cross")).to_be_visible()
    assert kept(page)["points"] == "60.40.75.46"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Delete")

    assert kept(page)["points"] == "60.40"
    expect(place_of(page)).to_contain_text("1 / ")


def test_start_seed_and_round_stand_in_the_link_and_are_seen_again(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=4&seed=7", ready=".centre")
    page.get_by_role("button", name="k-means++").click()
    page.get_by_label("Seed").fill("3")
    first, *_, last = asked(
        visit.server, "cluster/fit", {"points": POINTS, "k": 4, "start": "k-means++", "seed": 3, "tolerance": 0}
    )["rounds"]
    expect(told(page)).to_have_text(f"Inertia {round(last['inertia']):,}")
    page.get_by_role("slider").fill("1")
    expect(told(page)).to_have_text(f"Inertia {round(first['inertia']):,}")
    assert shown(page) == pytest.approx(np.array(first["centroids"]), abs=0.01)
    written = kept(page)
    again = visit.open(page.url.split("/")[-1], ready=".centre")

    assert kept(again) == written
    assert number(again) == number(page)
    expect(again.get_by_role("button", name="k-means++")).to_have_attribute("aria-pressed", "true")


def test_the_curve_of_inertia_marks_the_round(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2&start=given&centres=10.10.20.10&step=2", ready=".centre")
    inertias = [inertia for _, inertia in rounds_of(np.array(POINTS, float), np.array(STARTS, float))]
    chart = page.get_by_role("img", name="Inertia")
    drawn = np.array(re.findall(r"([\d.]+) ([\d.]+)", str(chart.locator(".curve").get_attribute("d"))), float)
    mark = [float(each) for each in re.findall(r"[\d.]+", str(chart.locator(".spot").get_attribute("transform")))]

    assert (112 - drawn[:, 1]) / (112 - TOP) == pytest.approx(np.array(inertias) / inertias[0], abs=1e-3)
    assert mark == pytest.approx(drawn[1], abs=0.01)


def test_a_round_that_was_chosen_stays_while_a_point_comes(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2&start=given&centres=10.10.20.10&step=2", ready=".centre")
    before = number(page)[2]
    click(page, (60, 5))
    expect(board(page).locator(".spot:not(.centre)")).to_have_count(len(POINTS) + 1)
    expect(told(page)).not_to_contain_text(f"{before:,}")

    assert number(page)[0] == 2
    assert kept(page)["step"] == "2"


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("k=3&points=5.5.5.5.5.5", "k is 3; allowed are at most 1"),
        ("k=0", "k is 0"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(visit: Visit, link: str, said: str) -> None:
    visit.expected.append("status of 422")
    page = visit.open(f"#points?{link}", ready="[role=alert] strong")

    expect(page.locator(".refusal")).to_contain_text("This cannot be answered")
    expect(page.locator(".refusal")).to_contain_text(said)
    expect(page.locator(".centre")).to_have_count(0)
    assert violations(page) == []


def test_after_a_refusal_an_answer_takes_its_place(visit: Visit) -> None:
    visit.expected.append("status of 422")
    page = visit.open(f"{LINK}&k=0", ready="[role=alert] strong")
    page.get_by_label("k", exact=True).fill("2")

    expect(told(page)).to_contain_text("Inertia")
    expect(page.locator(".refusal")).to_be_hidden()


def test_the_call_is_the_very_call(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2&seed=5", ready=".centre")
    page.get_by_text("This very call").click()
    code = page.locator("code")
    expect(code).to_contain_text("cluster/fit")
    body = re.search(r"-d '(.*?)'", code.inner_text())
    assert body is not None

    document = asked(visit.server, "cluster/fit", json.loads(body[1]))
    assert number(page)[1:] == (len(document["rounds"]), round(document["inertia"]))
    page.get_by_role("button", name="Python").click()
    expect(code).to_contain_text("urllib.request")


def test_a_service_that_goes_away_is_told_and_found_again(visit: Visit, restart: Callable[[], None]) -> None:
    page = visit.open("#points?points=10.10.90.60&k=2", ready=".centre")
    visit.server.stop()
    click(page, (20, 10))
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    expect(board(page).locator(".spot:not(.centre)")).to_have_count(3)
    assert violations(page) == []
    restart()

    expect(told(page)).to_contain_text("Inertia 50")
    expect(page.get_by_text("The service does not answer.")).to_be_hidden()


def test_nothing_below_moves_when_the_plane_comes_late(visit: Visit) -> None:
    page = visit.open("#points?of=SVM", ready="details")
    held: list[Route] = []
    page.route("**/models/moons-svm", lambda route: held.append(route))
    expect(board(page)).to_be_visible()
    page.get_by_role("button", name="k-means", exact=True).click()
    before = page.locator("details").bounding_box()
    page.get_by_role("button", name="SVM", exact=True).click()
    page.get_by_role("button", name="moons-svm").click()
    expect(page.get_by_text("Waiting for the answer…")).to_be_visible()

    assert page.locator("details").bounding_box() == before
    held[0].continue_()
    expect(board(page).locator(".rim")).to_have_count(27)


def test_waiting_can_be_stopped(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2", ready=".centre")
    page.route("**/cluster/fit", lambda route: None)
    click(page, (50, 70))
    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_text("Waiting for the answer…")).to_be_hidden()


def test_what_is_stopped_says_so_and_is_asked_again(visit: Visit) -> None:
    page = visit.open("#points?of=Iris", ready="details")
    page.unroute_all()
    held: list[Route] = []
    page.route("**/models/iris-mlp", lambda route: held.append(route), times=1)
    page.reload()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    page.get_by_role("button", name="Ask again").click()

    expect(page.locator(".label")).to_have_text("versicolor")
    expect(page.get_by_text("Stopped.")).to_be_hidden()


def test_what_one_drags_never_writes_the_link_more_often_than_browsers_let(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2", ready=".centre")
    page.evaluate(
        """() => {
            window.written = [];
            const usual = history.replaceState;
            history.replaceState = (...given) => (written.push(performance.now()), usual.apply(history, given));
        }"""
    )
    page.mouse.move(*pointed(page, POINTS[3]))
    page.mouse.down()
    page.mouse.move(*pointed(page, (60, 70)), steps=40)
    page.mouse.up()

    assert kept(page)["points"].startswith("10.10.20.10.10.20.60.70.")
    written = page.evaluate("written")
    assert all(later - earlier > 300 for earlier, later in pairwise(written))


def test_a_point_that_is_taken_away_takes_no_others_cluster(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2", ready=".centre")
    expect(told(page)).to_contain_text("Inertia")
    colours = "all => all.map(each => each.style.getPropertyValue('--kind'))"
    spots = board(page).locator(".spot:not(.centre)")
    before = spots.evaluate_all(colours)
    page.route("**/cluster/fit", lambda route: None)
    click(page, POINTS[1])
    expect(spots).to_have_count(7)
    assert spots.evaluate_all(colours) == before[:1] + before[2:]
    page.get_by_role("button", name="Three groups").click()

    expect(spots).to_have_count(36)
    assert set(spots.evaluate_all(colours)) == {"none"}


def test_a_finger_that_is_not_far_from_a_point_means_it(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2", viewport=PHONE, touch=True, ready=".centre")
    x, y = pointed(page, POINTS[4])
    page.touchscreen.tap(x + 14, y + 14)

    expect(board(page).locator(".spot:not(.centre)")).to_have_count(7)


def test_what_is_refused_does_not_stand_beside_an_older_answer(visit: Visit) -> None:
    visit.expected.append("status of 500")
    page = visit.open("#points?of=Iris", ready="input[type=range]")
    expect(page.locator(".label")).to_have_text("versicolor")
    page.route("**/predict/**", lambda route: route.fulfill(status=500, json={"title": "slowly"}), times=1)
    page.get_by_label("Petal length").fill("15")
    expect(page.get_by_role("alert")).to_contain_text("slowly")
    expect(page.locator(".label")).to_be_hidden()
    expect(page.get_by_text("This very call")).to_be_hidden()
    assert violations(page) == []
    page.get_by_role("button", name="Ask again").click()

    expect(page.locator(".label")).to_be_visible()
    expect(page.locator(".alone")).to_have_count(0)


def test_nothing_is_left_of_centres_when_all_is_cleared(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2&start=given&centres=10.10.20.10", ready=".centre")
    page.get_by_role("button", name="Clear").click()

    assert kept(page) == {"of": "k-means", "k": "2", "seed": "1", "start": "given", "points": ""}


@pytest.mark.parametrize(
    ("link", "written"),
    [
        ("k=abc&seed=-1&step=x&start=nonsense", {"k": "3", "seed": "1", "start": "random"}),
        ("of=Iris&mm=999.1.1.1", {"mm": "79.20.10.1"}),
        ("of=SVM&at=foo", {"model": "blobs-svm"}),
    ],
)
def test_a_link_is_read_as_far_as_it_makes_sense(visit: Visit, link: str, written: dict[str, str]) -> None:
    page = visit.open(f"#points?{link}", ready="[role=status]:not(:empty)")

    assert kept(page).items() >= written.items()
    expect(page.get_by_role("alert")).to_have_count(0)


# --- a support vector machine ----------------------------------------------------------------------------------------


def in_the_plane(page: Page, points: NDArray[np.float64], path: str) -> NDArray[np.float64]:
    """The places of a path of the drawing, in units of the points."""
    drawn = np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path), float)
    low, high = points.min(0) - 0.5, points.max(0) + 0.5
    shares = np.stack([(drawn[:, 0] - LEFT) / (RIGHT - LEFT), (292 - drawn[:, 1]) / (292 - TOP)], axis=1)
    return np.asarray(low + shares * (high - low))


@pytest.mark.parametrize(
    ("model", "data", "oracle", "near"),
    [
        (
            "blobs-svm",
            make_blobs(n_samples=50, centers=2, random_state=0, cluster_std=0.60),
            SVC(kernel="linear", C=1e10, tol=1e-8),
            0.02,
        ),
        (
            "moons-svm",
            tuple(each[:300] for each in make_moons(n_samples=4300, noise=0.2, random_state=0)),
            SVC(kernel="rbf", C=100, gamma=1, tol=1e-8),
            0.15,
        ),
    ],
    ids=["blobs", "moons"],
)
def test_lines_and_support_vectors_are_those_of_scikit_learn(
    visit: Visit, model: str, data: tuple[NDArray[np.float64], NDArray[np.int64]], oracle: SVC, near: float
) -> None:
    points, classes = data
    oracle.fit(points, classes)
    page = visit.open(f"#points?of=SVM&model={model}", ready=".curve")
    paths = [str(each.get_attribute("d")) for each in board(page).locator(".curve").all()]

    assert len(paths) == 3
    for level, path in zip((-1, 0, 1), paths, strict=True):
        assert np.abs(oracle.decision_function(in_the_plane(page, points, path)) - level).max() < near
    expect(board(page).locator(".spot:not(.side)")).to_have_count(len(points))
    expect(board(page).locator(".rim")).to_have_count(len(oracle.support_))
    expect(page.locator(".hint")).to_contain_text(f"{len(oracle.support_)} support vectors")


def test_a_place_that_is_clicked_is_answered_as_the_model_does(visit: Visit) -> None:
    page = visit.open("#points?of=SVM", ready=".curve")
    expect(told(page)).to_have_text("Class 1, margin 0.471, 0.329 from the line")  # the card's example
    board(page).click(position={"x": 120, "y": 60})
    expect(told(page)).to_contain_text("Class 0")
    row = [float(value) for value in kept(page)["at"].split("_")]
    [prediction] = asked(visit.server, "predict/blobs-svm", {"rows": [row]})["predictions"]

    outputs = prediction["outputs"]
    said = f"Class {prediction['label']}, margin {outputs['margin']:.3f}, {outputs['distance']:.3f} from the line"
    expect(told(page)).to_have_text(said)
    again = visit.open(page.url.split("/")[-1], ready=".curve")
    expect(told(again)).to_have_text(said)


def test_the_plane_of_one_model_is_no_place_for_another(visit: Visit) -> None:
    page = visit.open("#points?of=SVM", ready=".curve")
    expect(told(page)).to_contain_text("0.471")
    held: list[Route] = []
    page.route("**/models/moons-svm", lambda route: held.append(route))
    with page.expect_request("**/models/moons-svm"):
        page.get_by_role("button", name="moons-svm").click()
    board(page).click(position={"x": 120, "y": 60})
    assert "at" not in kept(page)
    held[0].continue_()

    expect(told(page)).to_have_text("Class 0, margin -0.107")


def test_arrow_keys_move_the_place_and_none_is_lost(visit: Visit) -> None:
    page = visit.open("#points?of=SVM&model=moons-svm", ready=".curve")
    expect(board(page)).to_have_accessible_name("A plane: arrow keys move a cross, which is asked about")
    expect(told(page)).to_have_text("Class 0, margin -0.107")
    board(page).focus()
    for key in ["ArrowDown"] * 6 + ["Shift+ArrowLeft"]:
        page.keyboard.press(key)

    assert kept(page)["at"] == "0.49_-0.05"
    [prediction] = asked(visit.server, "predict/moons-svm", {"rows": [[0.49, -0.05]]})["predictions"]
    expect(told(page)).to_have_text(f"Class 1, margin {prediction['outputs']['margin']:.3f}")
    page.get_by_role("button", name="blobs-svm").click()
    expect(told(page)).to_have_text("Class 1, margin 0.471, 0.329 from the line")


def test_the_plane_is_drawn_when_the_service_is_back(visit: Visit, restart: Callable[[], None]) -> None:
    page = visit.open("#points?of=Iris", ready="input[type=range]")
    visit.server.stop()
    page.get_by_role("button", name="SVM").click()
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    restart()

    expect(board(page).locator(".rim")).to_have_count(3)


# --- Iris ------------------------------------------------------------------------------------------------------------


def test_a_flower_is_answered_while_one_slides(visit: Visit) -> None:
    page = visit.open("#points?of=Iris", ready="input[type=range]")
    expect(page.locator(".label")).to_have_text("versicolor")
    for name, value in (("Sepal length", "5"), ("Petal length", "1.5"), ("Petal width", "0.2")):
        page.get_by_label(name).fill(str(round(10 * float(value))))
    expect(page.locator(".label")).to_have_text("setosa")
    [prediction] = asked(visit.server, "predict/iris-mlp", {"rows": [[5, 3, 1.5, 0.2]]})["predictions"]

    shares = [f"{100 * share:.1f}%" if share >= 0.0005 else "" for share in prediction["probabilities"]]
    expect(page.locator(".bars .value")).to_have_text(shares)
    expect(page.get_by_label("Petal length")).to_have_attribute("aria-valuetext", "1.5 cm")
    assert kept(page) == {"of": "Iris", "mm": "50.30.15.2"}
    again = visit.open(page.url.split("/")[-1], ready="input[type=range]")
    expect(again.locator("label", has_text="Petal length")).to_contain_text("1.5 cm")
    expect(again.locator(".label")).to_have_text("setosa")


def test_a_link_without_a_flower_begins_with_the_cards(visit: Visit) -> None:
    page = visit.open("#points?of=Iris&mm=nonsense", ready="input[type=range]")

    expect(page.locator("label", has_text="Sepal length")).to_contain_text("5.9 cm")


# --- all of them -----------------------------------------------------------------------------------------------------


def test_each_keeps_what_was_chosen_while_one_looks_at_another(visit: Visit) -> None:
    page = visit.open(f"{LINK}&k=2&step=1", ready=".centre")
    page.get_by_role("button", name="Iris").click()
    expect(page.locator(".label")).to_have_text("versicolor")
    assert kept(page)["of"] == "Iris"
    page.get_by_role("button", name="k-means", exact=True).click()

    expect(place_of(page)).to_contain_text("1 / ")
    assert kept(page)["points"] == LINK.split("=")[1]


def test_a_language_takes_nothing_from_what_one_does_not_look_at(visit: Visit) -> None:
    page = visit.open("#points?k=2", ready=".centre")
    spots = board(page).locator(".spot:not(.centre)")
    click(page, (5, 5))
    expect(spots).to_have_count(37)
    page.get_by_role("button", name="SVM").click()
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("button", name="English")).to_be_visible()
    page.get_by_role("button", name="k-means", exact=True).click()

    expect(spots).to_have_count(37)


@pytest.mark.parametrize("of", ["k-means", "SVM", "Iris"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_a_picture_is_taken(visit: Visit, screenshots: Path, theme: str, of: str) -> None:
    page = visit.open(f"#points?of={of}&step=2", theme=theme, ready="[role=status]:not(:empty)")
    page.wait_for_load_state("networkidle")

    assert violations(page) == []
    page.screenshot(path=screenshots / f"points-{of}-{theme}.png", full_page=True)


@pytest.mark.parametrize("of", ["k-means", "SVM", "Iris"])
def test_a_phone_in_korean_needs_no_sideways_scroll(visit: Visit, screenshots: Path, of: str) -> None:
    page = visit.open(
        f"#points?of={of}", viewport=PHONE, touch=True, language="ko-KR", ready="[role=status]:not(:empty)"
    )
    page.wait_for_load_state("networkidle")

    expect(page.get_by_role("heading", level=1)).to_have_text("점")
    if of == "k-means":
        expect(told(page)).to_contain_text("이너셔")
    if of == "Iris":
        expect(page.get_by_label("꽃잎 길이")).to_have_value("42")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.screenshot(path=screenshots / f"points-{of}-phone.png", full_page=True)
