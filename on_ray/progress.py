"""How far a batch has come, on standard error: a bar where somebody looks on, else a line now and then."""

import sys
import time
from dataclasses import dataclass, field

from on_ray.outputs import Done

WIDTH = 30
# Between two lines where nobody looks on.
SECONDS = 10.0


@dataclass
class Progress:
    count: int
    rows: int = 0
    errors: int = 0
    earlier: int | None = None  # rows that were there before
    started: float = field(default_factory=time.monotonic)
    told: float = float("-inf")

    def __call__(self, done: Done) -> None:
        """First with what was there before, then with each part."""
        self.rows, self.errors = self.rows + done.rows, self.errors + done.errors
        if self.earlier is None:
            self.earlier, self.started = done.rows, time.monotonic()
        watched, now = sys.stderr.isatty(), time.monotonic()
        if watched or now - self.told >= SECONDS or self.rows == self.count:
            self.told = now
            end = "\n" if not watched or self.rows == self.count else ""
            print(f"{chr(13) * watched}{self.line(now)}", end=end, file=sys.stderr, flush=True)

    def line(self, now: float) -> str:
        """Rows and errors so far, rows a second and what is left, as far as this run tells."""
        share = self.rows / self.count
        text = f"{'█' * int(WIDTH * share):·<{WIDTH}} {self.rows:,} of {self.count:,} ({share:.0%})"
        if self.errors:
            text += f", {self.errors:,} with an error"
        seconds, rows = now - self.started, self.rows - (self.earlier or 0)
        if rows and seconds:
            text += f", {rows / seconds:,.0f}/s"
            if self.rows < self.count:
                text += f", {(self.count - self.rows) * seconds / rows:,.0f} s left"
        return f"{text:<100}"
