"""How soon somebody whose long body was refused is listened to again: passing bodies over takes a worker no more than a
share of its time if those who do not heed Retry-After are hundreds. Knows no sockets; the clock is an argument."""

# Of a worker's time.
SHARE = 0.25
# About what it takes to refuse a request and to pass over a byte of its body.
REFUSAL_SECONDS, BYTE_SECONDS = 60e-6, 0.5e-9
# So much more than its share at once is nothing: a few who are refused are not slowed down.
BURST_SECONDS = 0.005
LONGEST_SECONDS = 1.0


class Backpressure:
    """One per worker."""

    def __init__(self) -> None:
        self._earned = 0.0  # when refusing will have taken no more than its share

    def pause(self, now: float, length: int) -> float:
        """For how many seconds who has sent a body of so many bytes, and was refused, is not listened to."""
        earned = max(self._earned, now) + (REFUSAL_SECONDS + length * BYTE_SECONDS) / SHARE
        # Nobody waits for longer, and nobody later for lengths that were but announced.
        self._earned = min(earned, now + BURST_SECONDS + LONGEST_SECONDS)
        return max(self._earned - now - BURST_SECONDS, 0.0)
