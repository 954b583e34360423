"""The service on Ray Serve: `serve run on_ray/serve.yaml`. It is create_app's application, in replicas on whatever
nodes there are; what `percept serve` brings besides is not there: workers, their memory, the connection's short way."""

from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ConfigurationError, Overloaded
from app.settings import Settings, read_settings

REQUEST_ID = b"x-request-id"


class Scale(BaseModel):
    """What a configuration may say under `args`."""

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    requests: float = Field(default=4.0, gt=0, description="Under way in each, at which another is started.")


class Adapted:
    """Hands each request what the lifespan has yielded, as uvicorn does and Serve does not; leaves the request's id to
    Serve, which gives each one, hands it on and tells it as well."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: MutableMapping[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self.state if scope["type"] == "lifespan" else dict(self.state)

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [pair for pair in message["headers"] if pair[0].lower() != REQUEST_ID]
            await send(message)

        await self.app({**scope, "state": state}, receive, send_without_id)


def percept(scale: Scale) -> Any:
    """The application as Serve takes it. Settings are those of the head's environment, or of
    `runtime_env` in the configuration. Raises ConfigurationError."""
    from ray import serve
    from ray.serve.schema import LoggingConfig

    settings = for_a_replica(read_settings())

    def application() -> ASGIApp:
        """In the replica."""
        from app.main import create_app

        return Adapted(create_app(settings))

    deployment = serve.deployment(
        serve.ingress(application)(),
        name="percept",
        ray_actor_options={"num_cpus": 1},
        autoscaling_config={
            "min_replicas": scale.min_replicas,
            "max_replicas": max(scale.min_replicas, scale.max_replicas),
            "target_ongoing_requests": scale.requests,
        },
        # A replica refuses by itself what it has no room for, and says so as the service does; what waits before the
        # replicas, their proxy refuses, with a text of its own.
        max_ongoing_requests=settings.max_queue + 1,
        max_queued_requests=settings.max_queue,
        backpressure_config={"status_code": Overloaded.status, "retry_after_s": 1},
        logging_config=LoggingConfig(enable_access_log=settings.access_log),
    )
    return deployment.bind()


def for_a_replica(settings: Settings) -> Settings:
    """With paths that mean the same on every node. Raises ConfigurationError for what only the workers of one machine
    can do together."""
    if settings.model_control:
        raise ConfigurationError(
            "PERCEPT_MODEL_CONTROL=true: replicas do not know of each other what callers load; on Ray the folder of "
            "the models decides"
        )
    return replace(
        settings,
        # A replica begins where Ray was started on its node.
        artifacts=settings.artifacts.absolute(),
        keys=settings.keys and str(Path(settings.keys).absolute()),
        workers=0,  # each has one core of its machine
    )
