"""GET / and GET /page/…: the page as it lies in app/web. Knows nothing of what the page asks of the API."""

from pathlib import Path

from fastapi import APIRouter, Request, Response

from app.errors import NotFound
from app.routes.static import answer, files

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).resolve().parent.parent / "web"
HOME = "index.html"
HEADERS = {
    # No script or style but those that lie here, nothing from elsewhere, no frame around the page. `data:` is what the
    # service answers pictures as, `blob:` what somebody drops.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@router.get("/")
async def home(request: Request) -> Response:
    return _answer(request, HOME)


@router.get("/page/{file:path}")
async def file(request: Request, file: str) -> Response:
    return _answer(request, file)


def _answer(request: Request, name: str) -> Response:
    found = files(FOLDER).get(name)
    if found is None:
        raise NotFound(f"the page has no file {name[:100]!r}")
    return answer(request, found, HEADERS)
