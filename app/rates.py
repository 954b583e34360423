"""How often somebody may ask: one number for each, in memory that all workers share. Made before they are. Knows no
HTTP.

The generic cell rate algorithm (ITU-T I.371): what is kept is the moment at which the next request would be on time if
all came evenly; a burst may run ahead of it. Two workers that write at the same moment lose one of two requests, which
lets somebody ask a little more often than allowed, and never less.
"""

import mmap
import secrets
import time
from hashlib import blake2b

# Two who fall into one place share their rate: among a thousand who ask at once, one in 260. 2 MB, of which those pages
# are there that were written to.
PLACES = 1 << 18
DOUBLE = 8
ROUNDING = 1e-9  # seconds: a monotonic clock of years has them


class Rates:
    def __init__(self) -> None:
        self._due = memoryview(mmap.mmap(-1, PLACES * DOUBLE)).cast("d")
        # So that nobody can choose whose place to share.
        self._salt = secrets.token_bytes(16)

    def wait(self, who: bytes, rate: float, burst: int, now: float | None = None) -> float:
        """0 if this request of `who` is within `rate` for each second, and counted; else how many seconds too early it
        is. Time is that of all processes of this machine, which no change of its clock moves."""
        now = time.monotonic() if now is None else now
        place = int.from_bytes(blake2b(who, digest_size=4, key=self._salt).digest()) % PLACES
        due = max(now, self._due[place])
        early = due - now - (burst - 1) / rate
        if early > ROUNDING:
            return early
        self._due[place] = due + 1 / rate
        return 0.0
