"""What all systems of the course have in common: a name, a training, an artifact that is kept if it is good enough."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from app.card import Card, DatasetFacts, Golden, Training
from training import export, saliency
from training.data import Dataset, Source, Split, load, load_test

DRY_RUN_ROWS = 512
VERSION = 1  # a new training takes the place of the old one
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
OPTIONS = ("epochs", "seed")  # of a Workplace: those that not every system takes
NO_OPTIONS: frozenset[str] = frozenset()


class BelowFloor(Exception):
    """A figure did not reach its floor; nothing has been written."""


@dataclass(frozen=True)
class Workplace:
    """Where and how a training runs. `epochs` and `seed` take the place of a system's own; only a system that takes
    them is given them."""

    data: Path
    device: torch.device
    epochs: int | None = None
    seed: int | None = None
    dry_run: bool = False  # every step on little, without a floor
    datasets: dict[str, Dataset] = field(default_factory=dict)  # read once for all systems

    def dataset(self, source: Source) -> Dataset:
        """In a dry run the first rows of each split. Raises DataError."""
        if source.name not in self.datasets:
            self.datasets[source.name] = load(source, self.data)
        whole = self.datasets[source.name]
        if not self.dry_run:
            return whole
        return Dataset(source, whole.train.first(DRY_RUN_ROWS), whole.validation.first(DRY_RUN_ROWS))

    def test(self, source: Source) -> Split:
        """Read it once, when every choice has been made; in a dry run its first rows. Raises DataError."""
        test = load_test(source, self.data)
        return test.first(DRY_RUN_ROWS) if self.dry_run else test

    def for_system(self, options: Collection[str]) -> "Workplace":
        """Without what a system of these options does not take."""
        return replace(
            self,
            epochs=self.epochs if "epochs" in options else None,
            seed=self.seed if "seed" in options else None,
        )

    @property
    def options(self) -> dict[str, int]:
        """Those that are given, by name."""
        given = {name: getattr(self, name) for name in OPTIONS}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Trained:
    """All that becomes an artifact."""

    graph: bytes
    card: Card
    golden: Golden
    figures: Mapping[str, bytes]  # PNG by name
    saliency: bytes | None = None  # of an image classifier (training/saliency.py)


class System(Protocol):
    """One of the course's systems."""

    options: ClassVar[frozenset[str]]  # those of OPTIONS that it takes

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def floor(self) -> Mapping[str, float]:
        """What figures have to reach, by their names on the card."""
        ...

    def train(self, workplace: Workplace) -> Trained: ...

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        """The figures of the card that the exported graph gives: from test data, by onnxruntime alone. `told` are the
        figures that the training gives, hyperparameters that it chose among them. Raises DataError.

        `train` takes the card's figures from here, so that what is measured again later is measured alike."""
        ...


def require_floor(card: Card) -> None:
    """Raises BelowFloor."""
    for metric, floor in card.floor.items():
        value = card.metrics[metric]
        if not value >= floor:
            raise BelowFloor(
                f"{card.name}: {metric.replace('_', ' ')} {value:.4f} is below its floor {floor:.4f}; "
                "nothing was written"
            )


def keep(trained: Trained, out: Path) -> None:
    """Write `out/<name>/1`. Raises BelowFloor, and then writes nothing."""
    require_floor(trained.card)
    with export.artifact_folder(out, trained.card.name, VERSION) as folder:
        model = export.with_metadata(trained.graph, trained.card, trained.golden)
        (folder / export.MODEL_FILE).write_bytes(model)
        if trained.saliency is not None:
            (folder / saliency.FILE).write_bytes(saliency.belonging_to(model, trained.saliency))
        (folder / "figures").mkdir()
        for name, picture in trained.figures.items():
            (folder / "figures" / f"{name}.png").write_bytes(picture)


def libraries(*more: str) -> dict[str, str]:
    """The versions of what a training depends on."""
    versions = {name: importlib.metadata.version(name) for name in (*LIBRARIES, *more)}
    return {"python": platform.python_version()} | versions


def dataset_facts(source: Source, train_rows: int, validation_rows: int, test_rows: int) -> DatasetFacts:
    return DatasetFacts(
        name=source.name,
        source=source.title,
        licence=source.licence,
        train_rows=train_rows,
        validation_rows=validation_rows,
        test_rows=test_rows,
        sha256=source.sha256,
    )


def device_name(device: torch.device) -> str:
    return str(device) if device.type == "cpu" else torch.cuda.get_device_name(device)


def current_commit() -> str:
    """The commit of this code, `+changes` if the tree differs from it, `unknown` outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def training_facts(
    name: str, workplace: Workplace, optimizer: str, epochs: int, seconds: float, **more: Any
) -> Training:
    """Of a system that is trained by its name and those options alone: what is not told here comes in `more`."""
    options = (f" --{option} {value}" for option, value in workplace.options.items())
    given: dict[str, Any] = {
        "command": f"percept train {name}{''.join(options)}",
        "seed": 0,
        "optimizer": optimizer,
        "epochs": epochs,
        "precision": "float32",
        "device": device_name(workplace.device),
        "seconds": round(seconds, 1),
        "commit": current_commit(),
        "libraries": libraries(),
    }
    return Training(**given | more)
