"""How often a model is right about pictures that people made, by where they come from: the service's own path, without
HTTP. The pictures are no part of the project.

.venv/bin/python -m benchmarks.uploads --data … --model digits --sheet mistakes.png

The folder has uploads/manifest.csv, with the columns path, task, label and source.
"""

import argparse
import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from app.errors import AppError
from app.main import open_store
from app.model import Model
from app.pictures import read_pictures
from app.prediction import Prediction, predict
from app.settings import Settings

MANIFEST = "manifest.csv"
BATCH = 50
# A mistake on the sheet: the upload and what the model saw of it, side by side, under a line that says what it is.
SIDE, LINE, COLUMNS = 112, 14, 5


@dataclass(frozen=True)
class Upload:
    file: Path
    label: str
    source: str


@dataclass(frozen=True)
class Answered:
    upload: Upload
    prediction: Prediction

    @property
    def right(self) -> bool:
        return self.prediction["label"] == self.upload.label


def uploads(folder: Path, task: str) -> list[Upload]:
    """Raises OSError if there is no manifest."""
    with (folder / MANIFEST).open(encoding="utf-8", newline="") as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["task"] == task]
    return [Upload(folder / row["path"], row["label"], row["source"]) for row in rows]


def answers(model: Model, asked: Sequence[Upload], max_pixels: int) -> Iterator[Answered]:
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        predictions = predict(model, [upload.file.read_bytes() for upload in batch], max_pixels)
        yield from map(Answered, batch, predictions)


def by_source(answered: Sequence[Answered]) -> dict[str, tuple[int, int]]:
    """How many were right, of how many."""
    found: dict[str, tuple[int, int]] = {}
    for each in answered:
        right, all_of_it = found.get(each.upload.source, (0, 0))
        found[each.upload.source] = right + each.right, all_of_it + 1
    return dict(sorted(found.items()))


def draw_mistakes(answered: Sequence[Answered], model: Model, max_pixels: int) -> Image.Image:
    """As uploaded, as seen, label > answer, probability; by source."""
    wrong = sorted((each for each in answered if not each.right), key=lambda each: each.upload.source)
    rows = max(1, -(-len(wrong) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (2 * SIDE + 8), rows * (SIDE + 2 * LINE + 8)), "white")
    for place, mistake in enumerate(wrong):
        row, column = divmod(place, COLUMNS)
        cell = _mistake(mistake, model, max_pixels)
        sheet.paste(cell, (column * (2 * SIDE + 8), row * (SIDE + 2 * LINE + 8)))
    return sheet


def _mistake(mistake: Answered, model: Model, max_pixels: int) -> Image.Image:
    contract, data = model.require_card().input, mistake.upload.file.read_bytes()
    assert contract.kind == "image"
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
        model = open_store(settings).find(options.model)
        task = options.task or model.require_card().subject or options.model
        asked = uploads(folder, task)
        known = [upload for upload in asked if upload.label in model.require_card().labels]
        answered = list(answers(model, known, settings.max_pixels))
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
        draw_mistakes(answered, model, settings.max_pixels).save(options.sheet)
        print(f"{sum(not each.right for each in answered)} mistakes are drawn in {options.sheet}")
    return 0


def _tell(model: Model, sources: dict[str, tuple[int, int]], left_out: int) -> None:
    print(f"| {model.name} {model.version} | pictures | right |\n|---|---:|---:|")
    for source, (right, pictures) in sources.items():
        print(f"| {source} | {pictures:,} | {right / pictures:.4f} |")
    mean = sum(right / pictures for right, pictures in sources.values()) / len(sources)
    print(f"| mean over sources | {sum(pictures for _, pictures in sources.values()):,} | {mean:.4f} |")
    if left_out:
        print(f"{left_out:,} pictures have a label that the model has not.")


if __name__ == "__main__":
    sys.exit(main())
