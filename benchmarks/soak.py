"""Half an hour of mixed traffic at half of what can be carried: whether memory grows, answers fail, or latency creeps.

    .venv/bin/python -m benchmarks.soak --minutes 30

Requests of eleven kinds, wrong ones among them, leave at times that were fixed beforehand. Each has a status that it
has to get; memory is the service's, all processes together, after each minute. Writes `docs/soak.json`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.png import encode
from benchmarks.arrivals import Outcome, offering, percentile, schedule, statuses
from benchmarks.machine import this_machine
from benchmarks.processes import terminated_as_interrupted
from benchmarks.servers import PERCEPT, running

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
RESULT = ROOT / "docs" / "soak.json"
JSON = "application/json"
FORMULA = {"expression": "mean(3*(x+2)**2)", "inputs": {"x": [[1, 1], [1, 1]]}}
NEWS = "The striker scored twice in the second half and the coach praised his team after the cup match."

# Few connections: a closed loop, which shows what can be carried without anything refused.
CAPACITY_RATE, CAPACITY_SECONDS, CAPACITY_CONNECTIONS = 20_000.0, 4.0, 8
SHARE = 0.5
CONNECTIONS = 64
WARM_UP_MINUTES = 3
MOST_GROWTH, MOST_SLOWER = 1.05, 1.25
SEED = 1


class Kind(NamedTuple):
    name: str
    request: bytes
    status: int
    share: int  # so many of each round of requests


@dataclass(frozen=True)
class Minute:
    requests: int
    wrong: dict[str, int]  # neither answered nor refused as they have to be, by what they got
    p50: float  # milliseconds
    p99: float
    memory: float  # MB
    late: float  # milliseconds: the most by which the generator itself was, as it is when the machine stands still


def raw(method: str, path: str, body: bytes = b"", content_type: str = "") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if content_type:
        head.append(f"Content-Type: {content_type}")
    return "\r\n".join([*head, "", ""]).encode() + body


def kinds() -> list[Kind]:
    seven, photo = (SAMPLES / "seven.png").read_bytes(), (SAMPLES / "three-on-paper.jpg").read_bytes()
    boot = (SAMPLES / "ankle-boot.png").read_bytes()
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + seven + b"\r\n--b--\r\n"
    noise = encode(np.random.default_rng(SEED).integers(0, 256, (64, 64), dtype=np.uint8))
    rows = json.dumps({"rows": [[5.1, 3.5, 1.4, 0.2]]}).encode()
    return [
        Kind("PNG", raw("POST", "/predict/digits", seven, "image/png"), 200, 8),
        Kind("form", raw("POST", "/predict/mnist-cnn", form, "multipart/form-data; boundary=b"), 200, 4),
        Kind("photograph", raw("POST", "/predict/digits", photo, "image/jpeg"), 200, 2),
        Kind("clothing", raw("POST", "/predict/clothing", boot, "image/png"), 200, 2),
        Kind("rows", raw("POST", "/predict/iris-mlp", rows, JSON), 200, 2),
        Kind("text", raw("POST", "/predict/news-mlp", json.dumps({"texts": [NEWS]}).encode(), JSON), 200, 2),
        Kind("protocol", raw("POST", "/v2/models/digits/infer", (SAMPLES / "seven.json").read_bytes(), JSON), 200, 4),
        Kind("formula", raw("POST", "/gradients/expression", json.dumps(FORMULA).encode(), JSON), 200, 1),
        Kind("no picture", raw("POST", "/predict/digits", b"not a picture", "image/png"), 422, 1),
        Kind("no model", raw("POST", "/predict/nothing", noise, "image/png"), 404, 1),
        Kind("metrics", raw("GET", "/metrics"), 200, 1),
    ]


def mixed(every: Sequence[Kind]) -> list[Kind]:
    """One round, in an order that does not change."""
    round_ = [kind for kind in every for _ in range(kind.share)]
    return [round_[place] for place in np.random.default_rng(SEED).permutation(len(round_))]


def minute(outcome: Outcome, expected: Sequence[int], memory: float) -> Minute:
    """Statuses in the order of the schedule, against those that the round wants."""
    wanted = np.resize(np.array(expected), len(outcome.status))
    right = outcome.status == wanted
    milliseconds = outcome.latency[right] * 1_000
    return Minute(
        requests=len(right),
        wrong=statuses(outcome.status[~right]),
        p50=percentile(milliseconds, 0.5) or 0.0,
        p99=percentile(milliseconds, 0.99) or 0.0,
        memory=memory,
        late=float(outcome.late.max()) * 1_000,
    )


def bars(minutes: Sequence[Minute]) -> list[tuple[str, str, str, bool]]:
    """Title, wanted, measured, reached."""
    warm = minutes[min(WARM_UP_MINUTES, len(minutes) - 1) :]
    third = max(1, len(warm) // 3)
    growth = max(each.memory for each in warm[-third:]) / warm[0].memory
    first, last = (statistics.median(each.p99 for each in part) for part in (warm[:third], warm[-third:]))
    wrong = sum(sum(each.wrong.values()) for each in minutes)
    return [
        ("memory, after warm-up", f"≤ {MOST_GROWTH:g} ×", f"{growth:.3f} ×", growth <= MOST_GROWTH),
        ("wrong answers", "0", f"{wrong:,} of {sum(each.requests for each in minutes):,}", wrong == 0),
        (
            "p99 of the last third against the first",
            f"≤ {MOST_SLOWER:g} ×",
            f"{last / first:.2f} × ({first:.1f} → {last:.1f} ms)",
            last <= MOST_SLOWER * first,
        ),
    ]


def soak(minutes: int, workers: int, seconds: float) -> tuple[float, list[Minute]]:
    """Requests per second offered, and what each minute was like."""
    order = mixed(kinds())
    requests, expected = [kind.request for kind in order], [kind.status for kind in order]
    with running(PERCEPT, Path(sys.executable), workers, {"PERCEPT_WORKERS": str(workers)}) as process:
        rate = SHARE * capacity(requests, expected, process.port)
        found = []
        for number in range(1, minutes + 1):
            times = schedule(rate, seconds, SEED + number)
            with offering(requests, process.port, times, CONNECTIONS, 1) as offered:
                outcome = offered.outcome()
            found.append(minute(outcome, expected, process.memory()))
            print(f"minute {number:2}: {told(found[-1])}", flush=True)
    return rate, found


def capacity(requests: Sequence[bytes], expected: Sequence[int], port: int) -> float:
    """Right answers in a second when as much is sent as is answered."""
    times = schedule(CAPACITY_RATE, CAPACITY_SECONDS)
    with offering(requests, port, times, CAPACITY_CONNECTIONS, 1) as offered:
        outcome = offered.outcome()
    right = outcome.status == np.resize(np.array(expected), len(times))
    took = float((times + outcome.latency)[right].max())
    print(f"capacity: {right.sum() / took:,.0f} requests/s", flush=True)
    return float(right.sum() / took)


def told(each: Minute) -> str:
    return (
        f"{each.requests:,} requests, {each.wrong or 'none'} wrong, p50 {each.p50:.2f} ms, p99 {each.p99:.1f} ms, "
        f"{each.memory:.0f} MB, sent up to {each.late:.0f} ms late"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60, help="of a minute; fewer to try it out")
    parser.add_argument("--workers", type=int, default=1, help="one leaves a core to the generator on a machine of two")
    options = parser.parse_args()
    with terminated_as_interrupted():
        rate, found = soak(options.minutes, options.workers, options.seconds)
    verdicts = bars(found)
    for title, wanted, measured, reached in verdicts:
        print(f"{'ok  ' if reached else 'MISS'} {title}: {measured}, wanted {wanted}")
    result = {
        "machine": this_machine().sentence(),
        "rate": rate,
        "workers": options.workers,
        "seconds": options.seconds,
        "bars": verdicts,
        "minutes": [asdict(each) for each in found],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(reached for *_, reached in verdicts) else 1)


if __name__ == "__main__":
    main()
