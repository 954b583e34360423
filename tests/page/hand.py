"""What a hand does on the page, and what is seen there."""

import base64
import json
import time
from collections.abc import Callable, Sequence

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Request, Route, expect

# What is waited for comes at once on a quiet machine. How long it may take is held by tests that run alone.
PATIENCE_MS = 30_000
Place = tuple[float, float]  # shares of the board's width and height
SEVEN: tuple[Place, ...] = ((0.28, 0.25), (0.72, 0.25), (0.45, 0.8))
ONE: tuple[Place, ...] = ((0.5, 0.2), (0.5, 0.8))


def draw(page: Page, stroke: Sequence[Place] = SEVEN, lift: bool = True) -> None:
    """One stroke with the mouse."""
    box = page.locator(".sheet canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=12)
    if lift:
        page.mouse.up()


def answer(page: Page, which: int = 0) -> Locator:
    return page.locator(".answer").nth(which)


def expect_label(page: Page, label: str, which: int = 0) -> None:
    expect(answer(page, which).locator(".label")).to_have_text(label)


def bring(page: Page, event: str, content: bytes, name: str, media_type: str) -> None:
    """A file, dropped on the page (`drop`) or pasted (`paste`)."""
    page.evaluate(
        """([event, content, name, type]) => {
            const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
            const held = new DataTransfer();
            held.items.add(new File([bytes], name, { type }));
            const told = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(event === "paste"
                ? new ClipboardEvent("paste", { ...told, clipboardData: held })
                : new DragEvent(event, { ...told, dataTransfer: held }));
        }""",
        [event, base64.b64encode(content).decode(), name, media_type],
    )


def shares(page: Page, which: int = 0) -> list[float]:
    """How long the bars are."""
    bars = answer(page, which).locator(".bar")
    return [
        float(share)
        for share in json.loads(
            str(bars.evaluate_all("bars => JSON.stringify(bars.map(bar => bar.style.getPropertyValue('--share')))"))
        )
    ]


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Of WCAG, as axe finds them: each rule with the elements that break it."""
    # The one rule of WCAG 2.2 among them is not on by default.
    found = Axe().run(page, options={"rules": {"target-size": {"enabled": True}}}).response["violations"]
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


def until(page: Page, held: Callable[[], bool]) -> None:
    """Waits for what no element tells; not for ever, so that the assertion after it may say what is there instead."""
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while not held() and time.monotonic() < deadline:
        page.wait_for_timeout(50)


class Held:
    """Calls that match are kept back until they are let go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self.held = True
        self.routes: list[Route] = []
        self.over: list[Request] = []
        page.route(pattern, lambda route: self.routes.append(route) if self.held else route.continue_())
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: self.over.append(request))

    def release(self, page: Page) -> None:
        """Returns when the page has what was held, and has had time to show it."""
        self.held = False
        for route in self.routes:
            route.continue_()
        until(page, lambda: all(route.request in self.over for route in self.routes))
        page.wait_for_timeout(300)
