"""What reading and writing requests of the Open Inference Protocol takes, without HTTP, for pictures of 28 × 28.

.venv/bin/python -m benchmarks.codec --model mnist-cnn --rounds 7
"""

import argparse
import timeit
from collections.abc import Callable

import numpy as np
import orjson

from app.main import open_store
from app.model import Model
from app.open_inference import read_request, write_response
from app.settings import Settings

SIZES = (1, 64, 256)
SECONDS = 0.1  # about so long is each measurement; the quickest counts


def calls(model: Model, rows: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    signature = model.signature
    pixels = np.random.default_rng(0).integers(0, 256, (rows, 28, 28), np.uint8)
    facts = {"name": "image", "shape": pixels.shape, "datatype": "UINT8"}
    wanted = {"outputs": [{"name": "probabilities"}]}
    flat = orjson.dumps({"inputs": [{**facts, "data": pixels.ravel().tolist()}], **wanted})
    nested = orjson.dumps({"inputs": [{**facts, "data": pixels.tolist()}], **wanted})
    head = orjson.dumps({"inputs": [facts], "parameters": {"binary_data_output": True}, **wanted})
    binary, raw, length = head + pixels.tobytes(), pixels.tobytes(), str(len(head))
    as_json, as_bytes = read_request(flat, None, signature), read_request(binary, length, signature)
    outputs = model.run(as_json.inputs, as_json.output_names)
    return {
        "the JSON parser alone": lambda: orjson.loads(flat),
        "read JSON, flat": lambda: read_request(flat, None, signature),
        "read JSON, nested": lambda: read_request(nested, None, signature),
        "read binary": lambda: read_request(binary, length, signature),
        "read raw": lambda: read_request(raw, "0", signature),
        "write JSON": lambda: write_response(as_json, outputs, signature),
        "write binary": lambda: write_response(as_bytes, outputs, signature),
        "the model": lambda: model.run(as_json.inputs, as_json.output_names),
    }


def microseconds(function: Callable[[], object], rounds: int) -> float:
    timer = timeit.Timer(function)
    runs = max(1, round(SECONDS / max(timer.timeit(1), 1e-6)))
    return min(timer.repeat(rounds, runs)) / runs * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mnist-cnn")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = open_store(Settings()).find(options.model)
    columns = [
        {what: microseconds(call, options.rounds) for what, call in calls(model, rows).items()} for rows in SIZES
    ]
    print("| µs | " + " | ".join(f"{rows} × 28 × 28" for rows in SIZES) + " |\n|---|" + "---:|" * len(SIZES))
    for what in columns[0]:
        print(f"| {what} | " + " | ".join(f"{column[what]:,.1f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
