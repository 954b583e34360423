"""The files of a folder as they are answered: in memory, found by their names there, so that no path of a request
reaches the file system. Knows nothing of what they are for.
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fastapi import Request, Response

from app.encodings import choose_coding

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
def files(folder: Path) -> dict[str, File]:
    """By their paths in the folder; read when the first of them is asked for. What is not in here is not served."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in TYPES)
    return {path.relative_to(folder).as_posix(): _read(path) for path in found}


def _read(path: Path) -> File:
    content = path.read_bytes()
    packed = None if path.suffix in PICTURES else gzip.compress(content, mtime=0)
    return File(content, packed, TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:32])


def answer(request: Request, found: File, more: dict[str, str]) -> Response:
    """`more` are headers of this folder's own."""
    packed = found.packed if choose_coding(request.headers.get("Accept-Encoding", "")) == GZIP else None
    # What is packed is another representation, and has another tag (RFC 9110, section 8.8.3).
    tag = f'"{found.digest}-{GZIP}"' if packed else f'"{found.digest}"'
    headers = HEADERS | more | {"ETag": tag} | ({"Content-Encoding": GZIP} if packed else {})
    known = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(packed or found.content, media_type=found.media_type, headers=headers)
