"""The one shape of an error."""

from typing import Any


def assert_problem(answer: Any, status: int) -> str:
    """RFC 9457 with our request id; returns the detail."""
    body = answer.json()

    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(body) == ["type", "title", "status", "detail", "request_id"]
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    detail: str = body["detail"]
    return detail
