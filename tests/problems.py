"""The shape of an error: one under /v2, one everywhere else."""

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


def assert_protocol_error(answer: Any, status: int) -> str:
    """As the Open Inference Protocol has it, nothing else; returns the message."""
    body = answer.json()

    assert answer.status_code == status, body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert list(body) == ["error"]
    assert "Traceback" not in answer.text
    message: str = body["error"]
    assert message
    return message
