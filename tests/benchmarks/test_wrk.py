"""What wrk's script prints is read exactly; anything else is told."""

import pytest

from benchmarks.wrk import Load, NoLoad, parse

OUTPUT = """Running 2s test @ http://127.0.0.1:18765
  1 threads and 16 connections
  Socket errors: connect 0, read 3, write 0, timeout 1
Requests/sec:   5000.00

RESULT {"requests": 10000, "microseconds": 2000000, "p50": 1500, "p99": 4250, "p999": 9999, \
"status_errors": 10, "socket_errors": 3, "timeouts": 1}
"""


def test_refused_requests_are_errors_and_not_in_the_rate() -> None:
    assert parse(OUTPUT) == Load(requests_per_second=4_995, p50=1.5, p99=4.25, p999=9.999, requests=10_000, errors=14)


def test_no_result_is_told_with_what_wrk_said() -> None:
    with pytest.raises(NoLoad, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")
