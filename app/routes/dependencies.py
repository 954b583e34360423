"""What routes ask for by type: what the lifespan yielded, and the files of a body.

All are coroutines: a plain function would be sent to a thread, which costs more than what it does.
"""

from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from app.settings import Settings
from app.store import Store
from app.uploads import read_files


async def _store(request: Request) -> Store:
    store: Store = request.state.store
    return store


async def _settings(request: Request) -> Settings:
    settings: Settings = request.state.settings
    return settings


async def _decoders(request: Request) -> CapacityLimiter:
    decoders: CapacityLimiter = request.state.decoders
    return decoders


DecodersDep = Annotated[CapacityLimiter, Depends(_decoders)]
StoreDep = Annotated[Store, Depends(_store)]
SettingsDep = Annotated[Settings, Depends(_settings)]


async def _files(request: Request, settings: SettingsDep) -> list[bytes]:
    return await read_files(request, settings.max_body_bytes, settings.max_files)


FilesDep = Annotated[list[bytes], Depends(_files)]
