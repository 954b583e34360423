"""Who may ask for what, and how often: the one place that looks at keys and rates, before a body is read. Off unless
the operator has set PERCEPT_KEYS or PERCEPT_RATE_LIMIT.
"""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from app.envelope import first_by_name
from app.errors import Forbidden, TooManyRequests, Unauthorized
from app.keys import ADMIN, PREDICT, KeyFile
from app.problems import rendered
from app.rates import Rates

# The page and the documentation say nothing that is not in the repository, probes have no key, and preflights by
# browsers carry none.
OPEN = frozenset(
    ("/", "/docs", "/redoc", "/openapi.json", "/health/live", "/health/ready", "/v2", "/v2/health/live")
) | {"/v2/health/ready"}
OPEN_FOLDERS = ("/page/", "/docs/assets/")
METRICS, REPOSITORY, INDEX = "/metrics", "/v2/repository/", "/index"
BEARER = b"bearer "
HOW = "send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="percept"'}
# Whoever has one address of IPv6 has as many as these bits leave.
IPV6_NETWORK = 64
# In the scope of a request that the connection has asked the guard about already.
CHECKED = "percept.checked"

Headers = Mapping[bytes, bytes]


def right_for(path: str) -> str | None:
    """What a path asks for; None where nobody is kept out. What is not known here needs a right."""
    if path in OPEN or path.startswith(OPEN_FOLDERS):
        return None
    changes = path.startswith(REPOSITORY) and not path.endswith(INDEX)
    # Whatever begins so: a router may take more for the same path, like one with a line break at its end.
    return ADMIN if changes or path.startswith(METRICS) else PREDICT


@dataclass(frozen=True)
class Guard:
    keys: KeyFile | None
    rates: Rates
    rate: float  # requests in a second, of a key, or of an address without one; 0: no limit
    burst: int

    def check(self, path: str, headers: Headers, address: str) -> None:
        """Raises Unauthorized, Forbidden or TooManyRequests."""
        right = right_for(path)
        if right is None:
            return
        given = key_in(headers) if self.keys else b""
        key = self.keys.find(given) if self.keys and given else None
        if self.rate:
            # A wrong key counts for the address: who tries many is slowed down.
            who = f"key {key.name}" if key else f"address {network_of(address)}"
            self._require_rate(who)
        if self.keys is None:
            return
        if key is None:
            fault = "this API key is not known" if given else "this needs an API key"
            raise Unauthorized(f"{fault}: {HOW}", CHALLENGE)
        if right not in key.rights:
            raise Forbidden(f"the key {key.name!r} has no right to {right}; it has: {', '.join(sorted(key.rights))}")

    def _require_rate(self, who: str) -> None:
        wait = self.rates.wait(who.encode(), self.rate, self.burst)
        if wait:
            raise TooManyRequests(
                f"this {who} has asked more than {self.rate:g} times a second (PERCEPT_RATE_LIMIT), and than "
                f"{self.burst} times at once; come again in {wait:.2g} seconds",
                {"Retry-After": str(math.ceil(wait))},
            )


def key_in(headers: Headers) -> bytes:
    """Empty where there is none."""
    authorization = headers.get(b"authorization", b"")
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip()
    return headers.get(b"x-api-key", b"")


@lru_cache(maxsize=1_024)
def network_of(address: str) -> str:
    """Of IPv4 the address itself."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:  # a socket of the file system has none
        return address
    if isinstance(known, ipaddress.IPv4Address) or known.ipv4_mapped:
        return str(known if isinstance(known, ipaddress.IPv4Address) else known.ipv4_mapped)
    return str(ipaddress.ip_network((known, IPV6_NETWORK), strict=False))


class Guarded:
    """Middleware."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get(CHECKED):
            path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
            address = (scope.get("client") or ("",))[0]
            try:
                self.guard.check(path, first_by_name(scope["headers"]), address)
            except (Unauthorized, Forbidden, TooManyRequests) as error:
                await rendered(error, scope).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)
