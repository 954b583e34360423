"""What routes ask for by type: what the lifespan yielded, and what a body brought.

All are coroutines: a plain function would be sent to a thread, which costs more than what it does.
"""

from typing import Annotated

from fastapi import Depends, Header, Request

from app.routes.callers import MOST_MILLISECONDS, deadline_of
from app.service import Service
from app.store import Store
from app.uploads import Upload, read_upload


async def _service(request: Request) -> Service:
    service: Service = request.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


async def _store(service: ServiceDep) -> Store:
    return service.store


async def _upload(request: Request, service: ServiceDep) -> Upload:
    return await read_upload(request, service.settings.max_body_bytes, service.settings.max_files)


async def _deadline(
    timeout_ms: Annotated[
        str | None,
        Header(
            alias="X-Request-Timeout-Ms",
            description="A request that has waited so long is dropped before the model begins.",
            examples=["500"],
            # A string to FastAPI, so that what is none of these is told in our words.
            json_schema_extra={"type": "integer", "minimum": 1, "maximum": MOST_MILLISECONDS},
        ),
    ] = None,
) -> float | None:
    return deadline_of(timeout_ms)


DeadlineDep = Annotated[float | None, Depends(_deadline)]
StoreDep = Annotated[Store, Depends(_store)]
UploadDep = Annotated[Upload, Depends(_upload)]
