"""A Dockerfile, read: its stages with their instructions, what a stage rests on, the environment and the commands of an
image. Knows as much of the language as ours uses; the rest is refused, lest it be passed over.
"""

import json
import re
import shlex
from dataclasses import dataclass

KNOWN = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}


@dataclass(frozen=True)
class Instruction:
    """`RUN`, and all that stands behind it, on one line."""

    name: str
    text: str


@dataclass(frozen=True)
class Stage:
    """`base` is another stage's name or an image."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]


def parse(text: str) -> dict[str, Stage]:
    """By name, in their order. Raises ValueError for an instruction that is not among the KNOWN."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    arguments: dict[str, str] = {}
    found: dict[str, Stage] = {}
    for line in filter(str.strip, lines):
        name, rest = line.strip().split(maxsplit=1)
        instruction = Instruction(name, re.sub(r"\s+", " ", rest.strip()))
        if name not in KNOWN:
            raise ValueError(f"{name}: allowed is {', '.join(sorted(KNOWN))}")
        if name == "ARG":
            key, _, value = instruction.text.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base, _, stage = instruction.text.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)
            found[stage] = Stage(stage, base, ())
        else:
            last = next(reversed(found.values()))
            found[last.name] = Stage(last.name, last.base, (*last.instructions, instruction))
    return found


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """The stage behind those that it rests on, the first one first."""
    stage = stages[name]
    return [*(lineage(stages, stage.base) if stage.base in stages else []), stage]


def instructions(stages: dict[str, Stage], name: str, kind: str) -> list[str]:
    """Texts of all instructions of a kind, those of the stages below first."""
    return [
        instruction.text
        for stage in lineage(stages, name)
        for instruction in stage.instructions
        if instruction.name == kind
    ]


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    """What ENV sets; `$PATH` and its like stay as they are."""
    words = [word for text in instructions(stages, name, "ENV") for word in shlex.split(text)]
    return dict(word.split("=", 1) for word in words)


def command(stages: dict[str, Stage], name: str) -> list[str]:
    """What the image runs: the last CMD."""
    words: list[str] = json.loads(instructions(stages, name, "CMD")[-1])
    return words


def health_command(stages: dict[str, Stage], name: str) -> list[str]:
    words: list[str] = json.loads(instructions(stages, name, "HEALTHCHECK")[-1].partition(" CMD ")[2])
    return words


def user(stages: dict[str, Stage], name: str) -> tuple[int, int]:
    """Its number and its group's."""
    number, _, group = instructions(stages, name, "USER")[-1].partition(":")
    return int(number), int(group)
