"""What a caller would rather have: numbers, a picture, or a stream of events."""

JSON, SVG, PNG = "application/json", "image/svg+xml", "image/png"


def wants(other: str, accept: str) -> bool:
    """Whether the Accept header names `other`, and not JSON before it: by quality (RFC 9110, section 12.5.1), and by
    the order among equals. Ranges like */* name neither, and JSON is for who names neither."""
    named = [(quality, media_type) for media_type, quality in map(_media_range, accept.split(",")) if quality > 0]
    known = [(quality, media_type) for quality, media_type in named if media_type in (JSON, other)]
    return bool(known) and max(known, key=lambda each: each[0])[1] == other


def _media_range(text: str) -> tuple[str, float]:
    """Without its parameters, and its quality; 0 for one that cannot be read."""
    media_type, *parameters = [part.strip().lower() for part in text.split(";")]
    qualities = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
    try:
        return media_type, float(qualities[0]) if qualities else 1.0
    except ValueError:
        return media_type, 0.0
