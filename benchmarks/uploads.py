"""How often a model is right about pictures that people made, by where they come from: the service's own path, without
HTTP. The pictures are no part of the project. An alias asks the model that knows a picture's like, as the service does.

.venv/bin/python -m benchmarks.uploads --data … --model digits --sheet mistakes.png

The folder has uploads/manifest.csv, with the columns path, task, label and source. Labels of the clothing dataset count
as what they are among Fashion-MNIST's; a model that has learned from those photographs knows them, and its figure says
little.
"""

import argparse
import csv
import io
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from app.errors import AppError
from app.main import open_store
from app.model import Model
from app.pictures import read_pictures
from app.prediction import Prediction, chosen, predict
from app.settings import Settings
from app.store import Answering
from training.calibration import calibration_error
from training.clothing_dataset import MEANS

MANIFEST = "manifest.csv"
DOUBT = "unlike_training_data"
BATCH = 50
# A mistake on the sheet: the upload and what the model saw of it, side by side, under a line that says what it is.
SIDE, LINE, COLUMNS = 112, 14, 5


@dataclass(frozen=True)
class Upload:
    file: Path
    label: str
    source: str

    @property
    def may_be(self) -> Collection[str]:
        """The labels of a model that are right."""
        return MEANS.get(self.label, (self.label,))


@dataclass(frozen=True)
class Answered:
    upload: Upload
    by: Model
    prediction: Prediction

    @property
    def right(self) -> bool:
        return self.prediction["label"] in self.upload.may_be


def uploads(folder: Path, task: str) -> list[Upload]:
    """Raises OSError if there is no manifest."""
    with (folder / MANIFEST).open(encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["task"] == task]
    return [Upload(folder / row["path"], row["label"], row["source"]) for row in rows]


def answers(answering: Answering, asked: Sequence[Upload], max_pixels: int) -> Iterator[Answered]:
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        files = [upload.file.read_bytes() for upload in batch]
        models = [chosen(*answering, file, max_pixels) for file in files]
        for model in dict.fromkeys(models):
            own = [place for place, each in enumerate(models) if each is model]
            predictions = predict(model, [files[place] for place in own], max_pixels)
            yield from (Answered(batch[place], model, each) for place, each in zip(own, predictions, strict=True))


def by_source(answered: Sequence[Answered]) -> dict[str, list[Answered]]:
    found: dict[str, list[Answered]] = {}
    for each in answered:
        found.setdefault(each.upload.source, []).append(each)
    return dict(sorted(found.items()))


def share(truths: Iterable[bool]) -> float:
    return float(np.mean(list(truths)))


def is_doubted(answered: Answered) -> bool:
    return any(warning["code"] == DOUBT for warning in answered.prediction["warnings"])


def confidence_error(answered: Sequence[Answered]) -> float | None:
    """Expected calibration error; None of a model without probabilities."""
    if "probability" not in answered[0].prediction:
        return None
    confidence = np.array([each.prediction["probability"] for each in answered])
    return calibration_error(confidence, np.array([each.right for each in answered]))


def draw_mistakes(answered: Sequence[Answered], max_pixels: int) -> Image.Image:
    """As uploaded, as seen, label > answer, probability; by source."""
    wrong = sorted((each for each in answered if not each.right), key=lambda each: each.upload.source)
    rows = max(1, -(-len(wrong) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (2 * SIDE + 8), rows * (SIDE + 2 * LINE + 8)), "white")
    for place, mistake in enumerate(wrong):
        row, column = divmod(place, COLUMNS)
        cell = _mistake(mistake, max_pixels)
        sheet.paste(cell, (column * (2 * SIDE + 8), row * (SIDE + 2 * LINE + 8)))
    return sheet


def _mistake(mistake: Answered, max_pixels: int) -> Image.Image:
    contract, data = mistake.by.require_card().input, mistake.upload.file.read_bytes()
    assert contract.kind in ("image", "photograph")
    [seen] = read_pictures([data], contract, max_pixels)
    uploaded = ImageOps.contain(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA"), (SIDE, SIDE))
    cell = Image.new("RGB", (2 * SIDE + 4, SIDE + 2 * LINE), "lightgray")
    cell.paste(uploaded, (0, 2 * LINE), uploaded)
    cell.paste(Image.fromarray(seen.pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST), (SIDE + 4, 2 * LINE))
    draw, answer = ImageDraw.Draw(cell), mistake.prediction
    sure = f" {answer['probability']:.2f}" if "probability" in answer else ""
    draw.text((2, 1), f"{mistake.upload.label} > {answer['label']}{sure}", fill="black")
    draw.text((2, 1 + LINE), mistake.upload.source, fill="black")
    return cell


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PERCEPT_DATA", "data")))
    parser.add_argument("--model", default="digits", help="a name or an alias; default: digits")
    parser.add_argument("--task", help="of the manifest; default: the model's subject")
    parser.add_argument("--sheet", type=Path, help="a picture of all mistakes, to be written here")
    options = parser.parse_args(argv)
    folder, settings = options.data / "uploads", Settings()
    try:
        answering = open_store(settings).find_answering(options.model)
        model, labels = answering.model, set(answering.model.require_card().labels)
        task = options.task or model.require_card().subject or options.model
        asked = uploads(folder, task)
        known = [upload for upload in asked if labels.issuperset(upload.may_be)]
        answered = list(answers(answering, known, settings.max_pixels))
    except (AppError, OSError) as error:
        print(f"not measured: {error.detail if isinstance(error, AppError) else error}", file=sys.stderr)
        return 2
    if not answered:
        print(
            f"not measured: {folder / MANIFEST} has no picture of {task!r} with a label of the model", file=sys.stderr
        )
        return 2
    _tell(model, by_source(answered), len(asked) - len(known))
    if options.sheet is not None:
        draw_mistakes(answered, settings.max_pixels).save(options.sheet)
        print(f"{sum(not each.right for each in answered)} mistakes are drawn in {options.sheet}")
    return 0


def _tell(model: Model, sources: dict[str, list[Answered]], left_out: int) -> None:
    print(f"| {model.name} {model.version} | pictures | right | doubted |\n|---|---:|---:|---:|")
    for source, answered in sources.items():
        right, doubted = share(each.right for each in answered), share(map(is_doubted, answered))
        print(f"| {source}{_learned_from(source, answered)} | {len(answered):,} | {right:.4f} | {doubted:.4f} |")
    together = [each for answered in sources.values() for each in answered]
    right = float(np.mean([share(each.right for each in answered) for answered in sources.values()]))
    doubted = float(np.mean([share(map(is_doubted, answered)) for answered in sources.values()]))
    print(f"| mean over sources | {len(together):,} | {right:.4f} | {doubted:.4f} |")
    if (error := confidence_error(together)) is not None:
        print(f"Expected calibration error, all pictures together: {error:.4f}")
    if left_out:
        print(f"{left_out:,} pictures have a label that the model has not.")


def _learned_from(source: str, answered: Sequence[Answered]) -> str:
    """Such a figure says nothing about other pictures."""
    models = sorted({each.by.name for each in answered if each.by.require_card().dataset.name == source})
    return f" ({', '.join(models)} learned from these)" if models else ""


if __name__ == "__main__":
    sys.exit(main())
