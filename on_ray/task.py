"""What a task of a batch does: reads a part's inputs, scores them, writes their answers. Whatever it takes besides came
with the job, the models too: a node needs the same packages, and to see IN and OUT."""

import hashlib
import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ray

from app.errors import AppError
from app.model import Model, model_of
from app.runtime import choose_providers
from on_ray import outputs
from on_ray.inputs import Part, read
from on_ray.outputs import Done
from on_ray.scoring import Limits, Scorer


class Shipped(NamedTuple):
    """A model as its file, so that every node has the very same."""

    name: str
    version: int
    path: Path
    content: bytes

    @property
    def said(self) -> dict[str, str]:
        return {
            "name": self.name,
            "version": str(self.version),
            "sha256": hashlib.sha256(self.content).hexdigest(),
        }


@dataclass(frozen=True)
class Job:
    """What a task has to know beside its part."""

    root: Path
    out: Path
    plan: str  # its digest
    columns: tuple[str, ...]
    model: Shipped
    photographs: Shipped | None
    providers: str
    limits: Limits


def score(reference: Any, row: dict[str, Any]) -> dict[str, int]:
    """One task. Raises AppError with the cause in one line: Ray writes into an error what it has to say itself, and not
    every one can be pickled."""
    try:
        return _done(reference, pickle.loads(row["part"]))._asdict()
    except Exception as error:
        raise AppError(in_a_line(error)) from error


def _done(reference: Any, part: Part) -> Done:
    """A part that is there, because a task died when it had written it, is not done again."""
    job, scorer = _scorer(reference)
    done = outputs.done(job.out, part, job.plan)
    if done is None:
        takes_pictures = scorer.model.require_card().takes_pictures
        inputs = read(job.root, part, job.columns, takes_pictures, job.limits.bytes)
        done = outputs.write_part(job.out, part, job.plan, scorer.answers(inputs, part.start))
    return done


def in_a_line(error: BaseException) -> str:
    """What was wrong, without the places in the code that Ray lists below it."""
    text = error.detail if isinstance(error, AppError) else str(error)
    told = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return told if isinstance(error, AppError | OSError) else f"{type(error).__name__}: {told}"


@cache
def _scorer(reference: Any) -> tuple[Job, Scorer]:
    """Once in each process."""
    job: Job = ray.get(reference)
    photographs = _model(job.photographs, job.providers) if job.photographs else None
    return job, Scorer(_model(job.model, job.providers), photographs, job.limits)


def _model(shipped: Shipped, providers: str) -> Model:
    return model_of(*shipped, choose_providers(providers))
