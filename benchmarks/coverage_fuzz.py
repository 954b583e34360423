"""Coverage-guided fuzzing, by atheris, of what reads callers' bytes: anything but an AppError is a finding.

    .venv/bin/python -m benchmarks.coverage_fuzz pictures --seconds 60

atheris is no part of the extras: `pip install atheris` where there is a wheel for this Python. What it finds it writes
into the folder that it is started in, as `crash-…`; give that file as the last argument to see it again.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.errors import AppError
from benchmarks.environments import ROOT

Target = Callable[[bytes], object]


def pictures() -> Target:
    from app import images

    def read(content: bytes) -> None:
        image = images.open_limited(content, 1_000_000)
        again = images.opened_again(image)
        images.upright_size(image)
        assert images.decode(again).dtype == np.uint8

    return read


def forms() -> Target:
    from app.uploads import MultipartFiles, split_form

    def read(content: bytes) -> None:
        boundary, _, body = content.partition(b"\n")
        plain = split_form(b"multipart/form-data; boundary=" + boundary, body)
        form = MultipartFiles(boundary, 64)
        for place in range(0, len(body), 100):
            form.feed(body[place : place + 100])
        files = form.finish()
        assert plain is None or plain == files

    return read


def tensors() -> Target:
    from app.open_inference import read_request
    from app.store import load_store

    signature = load_store(ROOT / "artifacts", ["CPUExecutionProvider"]).find("mnist-dnn").signature

    def read(content: bytes) -> None:
        length, _, body = content.partition(b"\n")
        read_request(body, length.decode("latin-1") or None, signature)

    return read


def formulas() -> Target:
    from app.lab.expression_answer import answer
    from app.lab.expression_request import read_expression

    def read(content: bytes) -> None:
        answer(read_expression(content), lambda: None)

    return read


# Each with a corpus to begin from.
TARGETS: dict[str, tuple[Callable[[], Target], str, list[bytes]]] = {
    "pictures": (pictures, "PIL", []),
    "forms": (
        forms,
        "python_multipart",
        [b'x\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n'],
    ),
    "tensors": (
        tensors,
        "app.open_inference",
        [
            b'\n{"inputs": [{"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [%b]}]}'
            % b",".join([b"0"] * 784),
            b"0\n" + bytes(784),
        ],
    ),
    "formulas": (
        formulas,
        "app.lab",
        [b'{"expression": "sum(sin(x) * x ** 2)", "inputs": {"x": [1, 2]}, "hessian": true}'],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage_fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"), help="folder; filled if it is empty")
    parser.add_argument("again", nargs="?", help="a file that it has written")
    options = parser.parse_args()
    import atheris

    made, package, seeds = TARGETS[options.target]
    with atheris.instrument_imports(include=[package, "app"]):
        target = made()
    if options.target == "pictures":
        from benchmarks.hostile_pictures import saved

        seeds = list(saved())

    def once(content: bytes) -> None:
        with contextlib.suppress(AppError):
            target(content)

    options.corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (options.corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={options.seconds}", "-timeout=2", "-rss_limit_mb=4096", "-max_len=200000"]
    where = [options.again] if options.again else [str(options.corpus)]
    atheris.Setup([sys.argv[0], *limits, *where], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
