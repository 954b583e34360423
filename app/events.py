"""Server-sent events (HTML standard, section 9.2): what one is on the wire. Knows nothing of what they tell."""

MEDIA_TYPE = "text/event-stream"


def event(kind: str, document: bytes) -> bytes:
    """`document` is JSON, without line ends as orjson writes it."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), document)
