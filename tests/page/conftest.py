"""A person's browser in front of the real service: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.page.hand import PATIENCE_MS
from tests.served import Server

DESKTOP: ViewportSize = {"width": 1280, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}


# Of the package, not of the session: while Playwright runs, no other test of this process could start an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("page") / "log", PERCEPT_WORKERS="1")
    yield server
    server.stop()


@pytest.fixture(scope="package")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that SCREENSHOTS names, for people to look at."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Visit:
    """Pages of one test, and all that they asked for and complained of."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self.browser, self.server = browser, server
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.expected: list[str] = []  # what a complaint may contain

    def open(
        self,
        link: str = "",
        *,
        viewport: ViewportSize = DESKTOP,
        theme: str = "light",
        language: str = "en-GB",
        touch: bool = False,
        ready: str = "select:enabled",
    ) -> Page:
        """The page when there is what `ready` selects: of panels with models, when those can be chosen."""
        context = self.browser.new_context(viewport=viewport, locale=language, has_touch=touch, is_mobile=touch)
        page = context.new_page()
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        self.watch(page)
        page.goto(f"{self.server.url}/{link}")
        page.wait_for_selector(ready)
        return page

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on(
            "console", lambda told: self.complaints.append(told.text) if told.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def leave(self) -> None:
        """Closes all pages, as before a server stops: what they still ask would be a complaint."""
        for context in self.browser.contexts:
            context.close()

    def close(self) -> None:
        self.leave()
        unexpected = [each for each in self.complaints if not any(part in each for part in self.expected)]
        hosts = {
            urlsplit(url).netloc for url in self.requests if urlsplit(url).scheme in ("http", "https", "ws", "wss")
        }
        assert unexpected == []
        assert hosts <= {urlsplit(self.server.url).netloc}


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """At its end there was no complaint in the console, and no request to another host."""
    visit = Visit(browser, server)
    yield visit
    visit.close()


@pytest.fixture
def restart(visit: Visit, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Of a server of the test's own: stopped by `visit.server.stop()`, it comes back at the same address."""
    visit.expected.append("ERR_")
    visit.server = Server(tmp_path / "log", PERCEPT_WORKERS="1")

    def again() -> None:
        visit.server = Server(tmp_path / "log", visit.server.port, PERCEPT_WORKERS="1")

    yield again
    visit.server.stop()
