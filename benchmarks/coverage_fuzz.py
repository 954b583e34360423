"""Coverage-guided fuzzing, by atheris, of what reads callers' bytes: anything but an AppError is a finding.

    .venv/bin/python -m benchmarks.coverage_fuzz pictures --seconds 60

atheris is no part of the extras: `pip install atheris` where there is a wheel for this Python. What it finds it writes
into the folder that it is started in, as `crash-…`; give that file as the last argument to see it again.
"""

import argparse
import contextlib
import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.errors import AppError
from benchmarks.environments import ROOT

Target = Callable[[bytes], object]
FLOWERS = (
    b'{"id": "1", "inputs": [{"name": "rows", "shape": [1, 4], "datatype": "FP32", "data": [[5.1, 3.5, 1.4, 0.2]]}], '
    b'"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}, {"name": "logits", "parameters": '
    b'{"binary_data": true}}], "parameters": {"timeout": 5000, "priority": 1}}'
)


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
    from app.encodings import decompress
    from app.open_inference import read_request, write_response
    from app.store import load_store
    from app.tensors import Array, TensorSpec

    store = load_store(ROOT / "artifacts", ["CPUExecutionProvider"])
    signatures = {name: store.find(name).signature for name in ("mnist-dnn", "iris-mlp", "news-mlp")}

    def ones(spec: TensorSpec) -> Array:
        return np.ones([3 if size < 0 else size for size in spec.shape], spec.datatype.dtype)

    def read(content: bytes) -> None:
        """Three lines before the body: the model, the length of the JSON and the content encoding."""
        name, length, coding, body = [*content.split(b"\n", 3), b"", b"", b""][:4]
        signature = signatures.get(name.decode("latin-1"), signatures["mnist-dnn"])
        packed = decompress(body, coding.decode("latin-1"), 1_000_000)
        request = read_request(packed, length.decode("latin-1") or None, signature)
        shapes = ([3 if size < 0 else size for size in each.spec.shape] for each in request.outputs)
        outputs = [
            np.ones(shape, each.spec.datatype.dtype) for each, shape in zip(request.outputs, shapes, strict=True)
        ]
        write_response(request, outputs, signature)

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
            b'mnist-dnn\n\n\n{"inputs": [{"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [%b]}]}'
            % b",".join([b"0"] * 784),
            b"mnist-dnn\n0\n\n" + bytes(784),
            b"iris-mlp\n\n\n" + FLOWERS,
            b"iris-mlp\n\ngzip\n" + gzip.compress(FLOWERS, mtime=0),
            b'news-mlp\n\n\n{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["shares fell"]}]}',
            b"news-mlp\n0\n\n\x0b\x00\x00\x00shares fell",
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
