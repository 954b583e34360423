"""The models that are served, found in a folder: by name, version and alias, beside those that were refused and why."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from app.card import ImageInput, PhotographInput
from app.errors import ArtifactRejected, InvalidRequest, NotFound, NotReady
from app.model import Model, load_model
from app.runtime import Providers

# What a model's address would be, were it not another's: statistics of all models, k-means on a caller's points.
TAKEN = {"stats": "/v2/models/stats", "fit": "/cluster/fit"}
VERSION = re.compile("0|[1-9][0-9]*", re.ASCII)


class Answering(NamedTuple):
    """Who answers a request: a model, and where that is by an alias, the one for photographs among the pictures."""

    model: Model
    photographs: Model | None = None


class Artifact(NamedTuple):
    """A file that is to be served. `version` is what its folder is called, and empty for a folder without any."""

    name: str
    version: str
    path: Path


@dataclass(frozen=True)
class Refused:
    """An artifact that is not served. `late` if it came when the service was already running: then the service is no
    less ready than it was. `passing` if that is not the file's fault, and worth another try."""

    model: str
    version: str
    reason: str
    late: bool = False
    passing: bool = False


@dataclass(frozen=True)
class Store:
    """Never changed: who has found a model in it keeps it."""

    models: Mapping[str, Mapping[int, Model]] = field(default_factory=dict)  # name → version → model
    refused: tuple[Refused, ...] = ()
    unloaded: tuple[Artifact, ...] = ()  # at a caller's wish

    def all(self) -> list[Model]:
        """Every version of every model."""
        return [model for versions in self.models.values() for model in versions.values()]

    def newest(self) -> list[Model]:
        """One model per name, its highest version, by name."""
        return [versions[max(versions)] for _, versions in sorted(self.models.items())]

    @property
    def waited_for(self) -> tuple[Refused, ...]:
        """Artifacts without which the service is not ready."""
        return tuple(refused for refused in self.refused if not refused.late)

    @cached_property
    def _by_name(self) -> Mapping[str, Model]:
        """What answers when no version is named; a model's own name goes before an alias."""
        return self.aliases() | {model.name: model for model in self.newest()}

    def aliases(self) -> dict[str, Model]:
        """Each subject answers with its best model: the highest validation accuracy, the first name among equals. A
        test split is not for choosing. Models of photographs do not compete."""
        return _best_of_each_subject(model for model in self.newest() if not _takes_photographs(model))

    @cached_property
    def of_photographs(self) -> Mapping[str, Model]:
        """By alias, the best model for the photographs among the pictures that are sent to it: one with the same labels
        as the model that the alias leads to."""
        aliases = {alias: model.card for alias, model in self.aliases().items() if alias not in self.models}
        labels = {alias: card.labels for alias, card in aliases.items() if card and isinstance(card.input, ImageInput)}
        able = (model for model in self.newest() if _takes_photographs(model))
        return _best_of_each_subject(
            model for model in able if model.card and labels.get(model.card.subject or "") == model.card.labels
        )

    def find_answering(self, name: str, version: int | None = None) -> Answering:
        """As `find`; a name of its own, or a version, is a model and no alias."""
        return Answering(self.find(name, version), self.of_photographs.get(name) if version is None else None)

    def find(self, name: str, version: int | None = None) -> Model:
        """By name or alias, the highest version unless one is named. Raises NotFound and lists what there is."""
        newest = self._by_name.get(name)
        if newest is None:
            known = [*sorted(self.aliases()), *sorted(self.models)]
            raise NotFound(f"there is no model {name!r}; there are: {', '.join(known) or 'none'}")
        if version is None:
            return newest
        versions = self.models[newest.name]
        if version not in versions:
            there = ", ".join(map(str, sorted(versions)))
            raise NotFound(f"model {name!r} has no version {version}; there are: {there}")
        return versions[version]

    def find_text(self, name: str, version: str | None) -> Model:
        """As `find`, the version as it stands in an address."""
        if version is None or (len(version) < 20 and VERSION.fullmatch(version)):  # int() refuses very long ones
            return self.find(name, None if version is None else int(version))
        model = self.find(name)
        there = ", ".join(map(str, sorted(self.models[model.name])))
        raise NotFound(f"model {name!r} has no version {version[:40]!r}; there are: {there}")

    def require_ready(self) -> None:
        """Raises NotReady with every artifact that is waited for, or if no model is served at all."""
        if self.waited_for:
            reasons = "; ".join(f"{refused.model} {refused.version}: {refused.reason}" for refused in self.waited_for)
            count = len(self.waited_for)
            raise NotReady(f"{count} {'artifact is' if count == 1 else 'artifacts are'} not served: {reasons}")
        if not self.models:
            raise NotReady("no model was found")

    def find_instead(self, name: str, other: str, version: int | None = None) -> Model:
        """Another model that answers the same question. Raises NotFound, or InvalidRequest if its labels differ."""
        asked, found = self.find(name).card, self.find(other, version)
        if asked is None or found.card is None or asked.labels != found.card.labels:
            raise InvalidRequest(f"model {found.name!r} does not answer what {name!r} answers: its labels are others")
        return found


def load_store(folder: Path, providers: Providers) -> Store:
    """Load every artifact below `folder`. One that is refused does not stop the others."""
    return store_of((artifact, try_to_load(artifact, providers)) for artifact in artifacts_in(folder))


def store_of(loaded: Iterable[tuple[Artifact, Model | Refused]], unloaded: Iterable[Artifact] = ()) -> Store:
    """Of two artifacts with one name and version the first is served."""
    models: dict[str, dict[int, Model]] = {}
    refused = []
    for artifact, result in loaded:
        if isinstance(result, Refused):
            refused.append(result)
        elif result.version in models.get(result.name, {}):
            refused.append(Refused(artifact.name, artifact.version, f"there is another version {result.version} of it"))
        else:
            models.setdefault(result.name, {})[result.version] = result
    return Store(models, tuple(refused), tuple(unloaded))


def try_to_load(artifact: Artifact, providers: Providers, measuring: bool = True) -> Model | Refused:
    try:
        if artifact.name in TAKEN:
            raise ArtifactRejected(
                f"the name {artifact.name!r} is taken: {TAKEN[artifact.name]} is an address of its own"
            )
        if not VERSION.fullmatch(artifact.version):
            raise ArtifactRejected("it has no model.onnx in a folder that is named by a whole number")
        return load_model(artifact.name, int(artifact.version), artifact.path, providers, measuring)
    except ArtifactRejected as error:
        return Refused(artifact.name, artifact.version, error.detail)
    except MemoryError:
        return Refused(artifact.name, artifact.version, "there is no memory to load it", passing=True)


def artifacts_in(folder: Path) -> Iterator[Artifact]:
    """`<name>/<version>/model.onnx`, or `<name>.onnx` as version 1.

    A model's folder without any version is told with an empty version, so that it is not overlooked in silence.
    """
    for entry in sorted(folder.glob("[!.]*")):
        if entry.suffix == ".onnx":
            yield Artifact(entry.stem, "1", entry)
        elif entry.is_dir():
            versions = sorted(file for file in entry.glob("[!.]*/model.onnx"))
            for file in versions:
                yield Artifact(entry.name, file.parent.name, file)
            if not versions:
                yield Artifact(entry.name, "", entry)


def _takes_photographs(model: Model) -> bool:
    return model.card is not None and isinstance(model.card.input, PhotographInput)


def _best_of_each_subject(models: Iterable[Model]) -> dict[str, Model]:
    best: dict[str, Model] = {}
    for model in models:
        subject = model.card.subject if model.card else None
        if subject and (subject not in best or _validation_accuracy(model) > _validation_accuracy(best[subject])):
            best[subject] = model
    return best


def _validation_accuracy(model: Model) -> float:
    return model.card.metrics.get("validation_accuracy", 0.0) if model.card else 0.0
