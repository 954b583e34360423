"""What routes ask for by type: what the lifespan yielded, and the files of a body.

All are coroutines: a plain function would be sent to a thread, which costs more than what it does.
"""

from typing import Annotated

from fastapi import Depends, Request

from app.service import Service
from app.store import Store
from app.uploads import read_files


async def _service(request: Request) -> Service:
    service: Service = request.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


async def _store(service: ServiceDep) -> Store:
    return service.store


async def _files(request: Request, service: ServiceDep) -> list[bytes]:
    return await read_files(request, service.settings.max_body_bytes, service.settings.max_files)


StoreDep = Annotated[Store, Depends(_store)]
FilesDep = Annotated[list[bytes], Depends(_files)]
