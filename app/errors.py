"""The one tree of named faults. Each knows its HTTP status and says what was wrong and what is allowed.

Knows nothing of FastAPI; app/problems.py turns these into responses.

    AppError
    ├── ConfigurationError     the service cannot start as it was told to
    ├── ArtifactRejected       one artifact cannot be served; the others go on
    ├── BadRequest             it breaks the Open Inference Protocol, or does not fit the model's tensors
    ├── Unauthorized           no API key, or one that is not known
    ├── Forbidden              what the operator has not allowed
    ├── NotFound               model, version or figure
    ├── RequestTimeout         the caller stopped sending
    ├── ContentTooLarge        bytes, files or pixels beyond a limit
    ├── UnsupportedMediaType   a content type that the route does not read
    ├── TooManyRequests        more often than the operator allows
    ├── HeadTooLarge           a request line and headers that do not end
    ├── InvalidRequest         readable, but not what the route can answer
    ├── NotReady               some model that should be served is not
    ├── OutOfMemory            the machine, or what the process may have of it, is short of memory
    ├── Overloaded             more is waiting than may wait
    └── DeadlineExceeded       the time that the caller allows was over before the work began
"""

from collections.abc import Callable, Mapping


class AppError(Exception):
    status = 500
    title = "Internal error"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})


class CallerGone(Exception):
    """Nobody waits for the answer any more; no fault of anybody's."""


# Called before each piece of work; raises if it is not wanted any more.
GoOn = Callable[[], None]


class ConfigurationError(AppError):
    title = "Configuration error"


class ArtifactRejected(AppError):
    title = "Artifact rejected"


class BadRequest(AppError):
    status = 400
    title = "Bad request"


class Unauthorized(AppError):
    status = 401
    title = "Unauthorized"


class Forbidden(AppError):
    status = 403
    title = "Forbidden"


class NotFound(AppError):
    status = 404
    title = "Not found"


class RequestTimeout(AppError):
    status = 408
    title = "Request timeout"


class ContentTooLarge(AppError):
    status = 413
    title = "Content too large"


class UnsupportedMediaType(AppError):
    status = 415
    title = "Unsupported media type"


class InvalidRequest(AppError):
    status = 422
    title = "Invalid request"


class TooManyRequests(AppError):
    status = 429
    title = "Too many requests"


class HeadTooLarge(AppError):
    status = 431
    title = "Request header fields too large"


class NotReady(AppError):
    status = 503
    title = "Not ready"


class OutOfMemory(AppError):
    status = 503
    title = "Out of memory"


class Overloaded(AppError):
    # No 503: nothing is wrong, and a proxy that counts the faults of a server is not to take it out for being busy.
    status = 429
    title = "Overloaded"


class DeadlineExceeded(AppError):
    status = 504
    title = "Deadline exceeded"
