"""The fold "This very call": all that a panel asked for what it shows stands there, and answers in a shell."""

import json
import re
import subprocess
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Visit
from tests.page.hand import until

# What there is to choose from is no part of an answer, and pictures show where they are by themselves.
NO_CALLS = re.compile(r"/|/page/.*|/models|/train|/models/[^/]+/.*|/favicon.*|/health/.*")


def asked(visit: Visit) -> list[str]:
    return sorted(
        url for url in visit.requests if url.startswith("http") and not NO_CALLS.fullmatch(urlsplit(url).path)
    )


def told(page: Page) -> list[str]:
    """The addresses in the fold."""
    written = page.locator("code").first.inner_text()
    return sorted(re.findall(r"'(http[^']+)'(?=\n|$)", written))


def overlay(page: Page) -> None:
    page.get_by_role("button", name="Pixels").click()
    expect(page.locator(".note").first).to_contain_text("speak for")


def opened_map(page: Page) -> None:
    page.get_by_role("button", name="Show the maps of conv2d larger", exact=True).click()
    expect(page.get_by_label("Row")).to_be_visible()


def nothing(page: Page) -> None:
    """Waits for no more than `ready`."""


def decided(page: Page) -> None:
    expect(page.locator(".deciding mark, .deciding li").first).to_be_visible()


@pytest.mark.parametrize(
    ("link", "ready", "act", "calls"),
    [
        ("#recognise?sample=seven.png", "[data-state=answered]", overlay, 2),
        ("#inside?model=mnist-cnn", ".layers .shape", opened_map, 5),
        ("#points", ".centre", nothing, 1),
        ("#points?of=SVM", ".edge", nothing, 3),
        ("#points?of=Iris", ".label", nothing, 2),
        ("#gradients", ".node", nothing, 1),
        ("#gradients?view=activations", "circle", nothing, 1),
        ("#gradients?view=descent", ".contour", nothing, 6),
        ("#gradients?view=xor", ".contour", nothing, 1),
        ("#gradients?view=xor&step=250", ".contour", nothing, 3),
        ("#lake", ".bars .best", nothing, 1),
        ("#news", ".label", decided, 2),
    ],
)
def test_all_that_was_asked_is_shown(
    visit: Visit, link: str, ready: str, act: Callable[[Page], None], calls: int
) -> None:
    page = visit.open(link, ready=ready)
    act(page)
    page.get_by_text("This very call").first.click()
    until(page, lambda: told(page) == asked(visit))

    assert told(page) == asked(visit)
    assert len(told(page)) == calls


def test_what_is_shown_of_a_plane_answers_in_a_shell(visit: Visit) -> None:
    """The grid of a support vector machine is the longest that a panel asks."""
    page = visit.open("#points?of=SVM", ready=".edge")
    page.get_by_text("This very call").click()
    expect(page.locator("code")).to_contain_text("predict")
    each = page.locator("code").inner_text().split("\n\n")

    answers = [json.loads(subprocess.run(["sh", "-c", call], capture_output=True, check=True).stdout) for call in each]
    place, card, grid = answers
    [prediction] = place["predictions"]
    label, outputs = prediction["label"], prediction["outputs"]
    expect(page.locator(".sure")).to_have_text(
        f"Class {label}, margin {outputs['margin']:.3f}, {outputs['distance']:.3f} from the line"
    )
    assert len(grid["predictions"]) == len(card["card"]["input"]["points"]) + 49 * 33
