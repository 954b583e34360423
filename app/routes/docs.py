"""GET /docs, /redoc and /openapi.json, from local assets: they work without the internet."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from app.documentation import Documentation
from app.errors import NotFound
from app.routes.accepted import JSON
from app.routes.static import answer, files

router = APIRouter(include_in_schema=False)
ASSETS = "/docs/assets"
READING = Lock()  # or each who asks before they are there would compress them for himself
# ReDoc shows its maker's logo from its maker's server, unless the browser is told that nothing may come from elsewhere.
LOCAL_ONLY = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:"
}


@cache
def folder() -> Path:
    """Swagger UI and ReDoc as the package fastapi-offline carries them; the package itself need not be imported."""
    spec = find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "static"


# In a thread: what is there are megabytes, which are compressed when the first is asked for.
@router.get(f"{ASSETS}/{{file:path}}")
def asset(request: Request, file: str) -> Response:
    with READING:
        found = files(folder()).get(file)
    if found is None:
        raise NotFound(f"the documentation has no file {file[:100]!r}")
    return answer(request, found, {})


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    documentation: Documentation = request.state.documentation
    return Response(await documentation.content(), media_type=JSON)


@router.get("/docs")
async def swagger_ui(request: Request) -> HTMLResponse:
    root = _root(request)
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Percept API",
        swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
        swagger_ui_parameters={"displayRequestDuration": True},
    )
    page.headers.update(LOCAL_ONLY)
    return page


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    root = _root(request)
    page = get_redoc_html(
        openapi_url=f"{root}/openapi.json",
        title="Percept API",
        redoc_js_url=f"{root}{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{root}{ASSETS}/favicon.png",
        with_google_fonts=False,
    )
    page.headers.update(LOCAL_ONLY)
    return page


def _root(request: Request) -> str:
    """Where a proxy has mounted the service."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")
