"""A Dockerfile is read as an engine reads it, as far as ours goes; what is not understood is not passed over."""

import pytest

from benchmarks import dockerfile

TEXT = """\
# A comment, and one in the middle of an instruction below.
ARG BASE=python:3.11.9-slim

FROM ${BASE} AS build
RUN one \\
    # not a part of it
    && two
FROM build AS service
ENV PATH=/opt/bin:$PATH \\
    GREETING="good day"
USER 7:8
HEALTHCHECK --timeout=3s CMD ["ask", "--now"]
CMD ["first"]
FROM service AS last
ENV GREETING=bye
CMD ["second", "word"]
"""
STAGES = dockerfile.parse(TEXT)


def test_stages_are_in_their_order_and_rest_on_each_other() -> None:
    assert list(STAGES) == ["build", "service", "last"]
    assert STAGES["build"].base == "python:3.11.9-slim"
    assert [stage.name for stage in dockerfile.lineage(STAGES, "last")] == ["build", "service", "last"]


def test_instruction_over_several_lines_is_one_without_the_comment() -> None:
    assert dockerfile.instructions(STAGES, "last", "RUN") == ["one && two"]


def test_what_stands_later_counts() -> None:
    assert dockerfile.environment(STAGES, "service") == {"PATH": "/opt/bin:$PATH", "GREETING": "good day"}
    assert dockerfile.environment(STAGES, "last")["GREETING"] == "bye"
    assert dockerfile.command(STAGES, "service") == ["first"]
    assert dockerfile.command(STAGES, "last") == ["second", "word"]


def test_user_and_health_check_are_inherited() -> None:
    assert dockerfile.user(STAGES, "last") == (7, 8)
    assert dockerfile.health_command(STAGES, "last") == ["ask", "--now"]


def test_unknown_instruction_is_refused() -> None:
    with pytest.raises(ValueError, match="ONBUILD: allowed is ARG, CMD"):
        dockerfile.parse("FROM a AS b\nONBUILD RUN c\n")
