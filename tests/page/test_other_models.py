"""The page over models that others have put there: photographs beside small gray pictures, or nothing of pictures."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.onnx_models import brightness_card, doubling_graph, write_brightness, write_model, write_redness
from tests.page.conftest import Visit
from tests.page.hand import answer, bring, draw
from tests.served import Server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path, int], Server]]:
    """To be named before `visit`: pages are closed before what they ask stops."""
    servers = []

    def start(folder: Path, models: int) -> Server:
        server = Server(tmp_path / "log", models=models, PERCEPT_ARTIFACTS=str(folder), PERCEPT_WORKERS="1")
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def red_photograph() -> bytes:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[:, :, 0] = np.random.default_rng(0).integers(150, 255, (300, 400))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_photograph_is_answered_by_the_model_of_photographs_and_a_drawing_by_the_other(
    serve: Callable[[Path, int], Server], visit: Visit, tmp_path: Path
) -> None:
    visit.expected.append("status of 422")
    folder = tmp_path / "artifacts"
    write_brightness(folder, card=brightness_card("brightness", subject="clothing"))
    write_redness(folder, subject="clothing")
    visit.server = serve(folder, 2)
    page = visit.open()
    expect(page.get_by_role("heading")).to_have_text("Show a piece of clothing")
    bring(page, "drop", red_photograph(), "red.png", "image/png")

    expect(answer(page).locator(".model")).to_have_text("redness")
    page.get_by_role("button", name="Patches").click()
    expect(answer(page).locator(".note")).to_contain_text("takes photographs in colour, and is not explained")
    page.get_by_role("button", name="Clear").click()
    draw(page)
    expect(answer(page).locator(".model")).to_have_text("brightness, version 1")


def test_without_a_model_of_pictures_the_page_says_so(
    serve: Callable[[Path, int], Server], visit: Visit, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    write_model(folder, doubling_graph(), "own")
    visit.server = serve(folder, 1)
    context = visit.browser.new_context(locale="en-GB")
    page = context.new_page()
    visit.watch(page)
    for panel in ("recognise", "inside"):
        page.goto(f"{visit.server.url}/#{panel}")
        page.wait_for_selector(f".{panel}")

        expect(page.get_by_role("alert")).to_have_text("There is no model of pictures here.")
        expect(page.get_by_label("Model", exact=True)).to_be_disabled()
