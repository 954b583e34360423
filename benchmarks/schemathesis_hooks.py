"""What Schemathesis is not to count as a violation of the schema."""

from typing import Any

import schemathesis

UNKNOWN = "x-schemathesis-unknown-property"


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """A header that nobody knows is no error: who does not recognise a field ignores it (RFC 9110, section 5.1)."""
    return UNKNOWN not in (case.headers or {})
