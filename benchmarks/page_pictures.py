"""The pictures of the page and of Swagger UI in docs/, taken in a browser from a service that this starts.

python -m benchmarks.page_pictures
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, ViewportSize, sync_playwright

from tests.conftest import SAMPLES
from tests.page.hand import draw
from tests.served import Server

DOCS = Path(__file__).resolve().parent.parent / "docs"
VIEW: ViewportSize = {"width": 1280, "height": 860}
SETTLED_MS = 1_500  # until answers have come and what moves stands still
TRIED_HEIGHT = 1_055  # from the file to the end of the answer
# By rows, light and dark in turn.
PANELS = (
    "inside?model=mnist-cnn&sample=two.png",
    "points?of=SVM",
    "gradients",
    "gradients?view=descent",
    "lake?model=frozenlake-slippery-dqn&step=9",
    "news",
)
COLUMNS, SCALE, GAP = 2, 0.5, 12


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log", PERCEPT_WORKERS="1")
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                keep(drawn(browser, server.url), DOCS / "page.png")
                keep(tried_out(browser, server.url), DOCS / "swagger-ui.png")
                keep(montage([panel(browser, server.url, *each) for each in enumerate(PANELS)]), DOCS / "panels.png")
        finally:
            server.stop()


def opened(browser: Browser, url: str, theme: str) -> Page:
    page = browser.new_page(viewport=VIEW, locale="en-GB", color_scheme="dark" if theme == "dark" else "light")
    page.goto(url)
    page.wait_for_timeout(SETTLED_MS)
    return page


def drawn(browser: Browser, url: str) -> Image.Image:
    """A seven by the mouse, and the pixels that speak for it."""
    page = opened(browser, url, "light")
    draw(page)
    page.get_by_role("button", name="Pixels").click()
    page.wait_for_timeout(SETTLED_MS)
    return picture_of(page)


def tried_out(browser: Browser, url: str) -> Image.Image:
    """A photograph of a digit through "Try it out", from the file to the answer."""
    page = opened(browser, f"{url}/docs", "light")
    operation = page.locator("#operations-predict-predict_images_predict__model__post")
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("input[type=file]").first.set_input_files(SAMPLES / "three-on-paper.jpg")
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table").wait_for()
    page.wait_for_timeout(SETTLED_MS)
    box = operation.bounding_box()
    request = operation.locator(".opblock-section-request-body").bounding_box()
    assert box is not None and request is not None
    top = request["y"] + page.evaluate("scrollY")  # boxes are of the window, the picture is of the page
    clip: FloatRect = {"x": box["x"], "y": top, "width": box["width"], "height": TRIED_HEIGHT}
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    page.close()
    return taken.convert("RGB")


def panel(browser: Browser, url: str, number: int, link: str) -> Image.Image:
    row, column = divmod(number, COLUMNS)
    page = opened(browser, f"{url}/#{link}", "dark" if (row + column) % 2 else "light")
    page.wait_for_timeout(SETTLED_MS)
    return picture_of(page)


def picture_of(page: Page) -> Image.Image:
    taken = Image.open(io.BytesIO(page.screenshot()))
    page.close()
    return taken.convert("RGB")


def montage(pictures: list[Image.Image]) -> Image.Image:
    width, height = (round(side * SCALE) for side in pictures[0].size)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for number, each in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        small = each.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (column * (width + GAP), row * (height + GAP)))
    return sheet


def keep(picture: Image.Image, path: Path) -> None:
    picture.save(path, optimize=True)
    print(f"{path.relative_to(DOCS.parent)}: {picture.width} × {picture.height}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
