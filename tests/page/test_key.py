"""A service that wants a key: the page asks for it once, goes on with it, and never shows it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from app.keys import line_of, new_key
from tests.page.conftest import Visit
from tests.page.hand import draw, expect_label, violations
from tests.served import Server

ALICE = new_key()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text(line_of("alice", ["predict"], ALICE))
    server = Server(folder / "log", PERCEPT_WORKERS="1", PERCEPT_KEYS=str(folder / "keys"))
    yield server
    server.stop()


@pytest.fixture
def locked(browser: Browser, guarded: Server) -> Iterator[Visit]:
    visit = Visit(browser, guarded)
    visit.expected.append("status of 401")
    yield visit
    visit.close()


def test_a_wrong_key_is_told_and_the_right_one_goes_on_with_everything(locked: Visit) -> None:
    page = locked.open(ready="#key:not([hidden])")
    key = page.get_by_label("This service wants an API key.")
    expect(key).to_be_focused()
    key.fill("wrong")
    page.keyboard.press("Enter")
    again = page.get_by_label("It does not know this key.")
    again.fill(ALICE)
    page.get_by_role("button", name="Use it").click()

    expect(page.locator("#key")).to_be_hidden()
    expect(page.locator("#panel")).to_be_focused()
    draw(page)
    expect_label(page, "7")
    page.reload()
    expect(page.locator("#first")).to_be_enabled()
    expect(page.locator("#key")).to_be_hidden()
    page.goto(f"{locked.server.url}/#inside?model=mnist-cnn")
    figure = page.get_by_role("img", name="Its worst mistakes")
    figure.scroll_into_view_if_needed()
    page.wait_for_function("image => image.naturalWidth > 100", arg=figure.element_handle())


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_the_call_that_is_copied_names_the_key_and_does_not_have_it(
    locked: Visit, language: str, tmp_path: Path
) -> None:
    page = locked.open("#recognise?sample=seven.png", ready="#key:not([hidden])")
    page.locator("#secret").fill(ALICE)
    page.keyboard.press("Enter")
    expect_label(page, "7")
    page.get_by_text("This very call").click()
    page.get_by_role("button", name=language).click()
    expect(page.locator("code")).to_contain_text("PERCEPT_KEY")
    call = page.locator("code").inner_text()
    command = ["bash", "-c", call] if language == "curl" else [sys.executable, "-c", call]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PERCEPT_KEY": ALICE})

    assert ALICE not in call
    assert re.search(r"""['"]label['"]: ?['"]7['"]""", done.stdout)


def test_a_key_that_no_header_carries_is_a_wrong_one(locked: Visit) -> None:
    page = locked.open(ready="#key:not([hidden])")
    page.get_by_label("This service wants an API key.").fill("열쇠")
    page.keyboard.press("Enter")
    page.get_by_label("It does not know this key.").fill(ALICE)
    page.keyboard.press("Enter")
    expect(page.locator("#first")).to_be_enabled()
    page.evaluate("() => sessionStorage.setItem('percept-key', '열쇠')")
    page.reload()

    expect(page.get_by_label("This service wants an API key.")).to_be_visible()


def test_a_language_is_taken_by_the_form_for_a_key_too(locked: Visit) -> None:
    page = locked.open(ready="#key:not([hidden])")
    page.get_by_role("button", name="한국어").click()

    expect(page.get_by_label("이 서비스에는 API 키가 필요합니다.")).to_be_visible()


def test_who_is_refused_gives_another_key(locked: Visit) -> None:
    locked.expected.append("status of 403")
    page = locked.open("#news", ready="#key:not([hidden])")
    page.route("**/predict/**", lambda route: route.fulfill(status=403, json={"title": "Forbidden"}), times=1)
    page.locator("#secret").fill(ALICE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Forbidden")
    page.get_by_role("button", name="Other key").click()
    page.locator("#secret").fill(ALICE)
    page.keyboard.press("Enter")

    expect(page.locator(".label")).to_have_text("Sport")
    expect(page.locator("#panel")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_where_the_key_is_asked_for(locked: Visit, theme: str) -> None:
    page = locked.open(ready="#key:not([hidden])", theme=theme)

    assert violations(page) == []


def test_korean_is_spoken_there_too(locked: Visit) -> None:
    page = locked.open(ready="#key:not([hidden])", language="ko-KR")

    expect(page.get_by_label("이 서비스에는 API 키가 필요합니다.")).to_be_visible()
