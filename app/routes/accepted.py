"""What a caller would rather have: numbers or a picture."""

JSON, SVG, PNG = "application/json", "image/svg+xml", "image/png"


def wants(picture: str, accept: str) -> bool:
    """Whether it is named in the Accept header; who takes JSON too gets the one that is named first."""
    wanted = [each.split(";")[0].strip().lower() for each in accept.split(",")]
    return next((each == picture for each in wanted if each in (JSON, picture)), False)
