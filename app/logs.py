"""Logs as JSON, one object a line, on standard error: what happened, and with which request. Configured by the server
when it starts; a request is a line only if the operator asks for it."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

ACCESS = logging.getLogger("percept.access")


class JsonLines(logging.Formatter):
    """`extra={"fields": {…}}` of a log call goes into the object as it is."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "worker": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(access: bool) -> None:
    """For a process that serves; whoever uses the application as a library configures what he likes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("percept").setLevel(logging.INFO)
    ACCESS.setLevel(logging.INFO if access else logging.WARNING)
    # An unexpected fault is logged with its request by app/problems.py; uvicorn would say it a second time.
    logging.getLogger("uvicorn.error").addFilter(_not_said_already)


def _not_said_already(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Exception in ASGI application")
