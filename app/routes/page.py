"""GET / and GET /page/…: the page as it lies in app/web. Knows nothing of what the page asks of the API."""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from app.encodings import choose_coding
from app.errors import NotFound

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).resolve().parent.parent / "web"
HOME = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
PICTURES = {".png", ".jpg"}  # compressed as they are
GZIP = "gzip"
HEADERS = {
    # No script or style but those that lie here, nothing from elsewhere, no frame around the page. `data:` is what the
    # service answers pictures as, `blob:` what somebody drops.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    # Asked again each time and answered by 304: a new version of the service never meets files of an old one.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


class File(NamedTuple):
    content: bytes
    packed: bytes | None
    media_type: str
    digest: str


@cache
def files() -> dict[str, File]:
    """By their paths in the folder; read when the page is first asked for. What is not in here is not served."""
    found = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in found}


def _read(path: Path) -> File:
    content = path.read_bytes()
    packed = None if path.suffix in PICTURES else gzip.compress(content, mtime=0)
    return File(content, packed, TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:32])


@router.get("/")
async def home(request: Request) -> Response:
    return _answer(request, HOME)


@router.get("/page/{file:path}")
async def file(request: Request, file: str) -> Response:
    return _answer(request, file)


def _answer(request: Request, name: str) -> Response:
    found = files().get(name)
    if found is None:
        raise NotFound(f"the page has no file {name[:100]!r}")
    packed = found.packed if choose_coding(request.headers.get("Accept-Encoding", "")) == GZIP else None
    # What is packed is another representation, and has another tag (RFC 9110, section 8.8.3).
    tag = f'"{found.digest}-{GZIP}"' if packed else f'"{found.digest}"'
    headers = HEADERS | {"ETag": tag} | ({"Content-Encoding": GZIP} if packed else {})
    known = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(packed or found.content, media_type=found.media_type, headers=headers)
