"""Hostile requests for every POST route, each made of a seed, of the real ones that the documentation shows. Knows no
sockets.
"""

import copy
import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from benchmarks.cases import HEADER_LENGTH, Message
from benchmarks.hostile_pictures import cut, flipped, hostile_picture, repeated, samples

JSON = "application/json"
PICTURE_ROUTES = (
    *("/predict/digits", "/predict/clothing", "/predict/mnist-dnn", "/predict/clothing-photos", "/predict/mnist-svm"),
    *("/cluster/mnist-kmeans", "/cluster/fashion-kmeans", "/explain/mnist-cnn", "/convolution"),
    *("/predict/digits?many=true", "/predict/digits?as_seen=true&top=2", "/predict/fashion-autoencoder"),
)
NAMES: dict[str, tuple[str, ...]] = {
    "demo": ("first-backward-pass",),
    "problem": ("rosenbrock", "xor", "iris"),
    "version": ("1",),
    "model": ("mnist-cnn", "news-mlp", "iris-mlp", "toy-network"),
}
QUERIES = {
    "": ("x=1", "version=1", "version=99999999999999999999", "version=-1", "version=x", "%00=%ff"),
    "/predict": (
        "top=0",
        "top=-1",
        "top=1e9",
        "top=3&top=4",
        "many=maybe",
        "model=mnist-mlp",
        "model=%2e%2e",
        "many=1",
    ),
    "/explain": (
        *(
            "class=7",
            "class=-1",
            "class=" + "9" * 400,
            "layer=" + "x" * 5_000,
            "patch=0",
            "patch=1&stride=1",
            "fill=1e400",
        ),
        *(
            "pictures=true&numbers=true",
            "occlusion=false&gradients=false",
            "stride=4294967296",
            "picture=no",
            "fill=nan",
        ),
    ),
    "/convolution": (
        *(
            "kernel=sobel-x",
            "kernel=mnist-cnn/99999",
            "padding=same&stride=0",
            "stride=99999999",
            "pool=max&pool_size=0",
        ),
        *("padding=-1", "pool=average&pool_size=8&pool_stride=1", "kernel=" + "a" * 3_000),
    ),
}
HEADERS: tuple[tuple[str, str], ...] = (
    *(("X-Request-Timeout-Ms", value) for value in ("0", "-1", "1", "1e3", "9" * 30, "\u00b2", "x")),
    *(("Content-Encoding", value) for value in ("gzip", "deflate", "br", "gzip, gzip", "identity", "x" * 2_000)),
    *(("Accept", value) for value in ("image/svg+xml", "text/event-stream", "image/png", "*/*;q=nan", "," * 3_000)),
    *(("Accept-Encoding", value) for value in ("gzip;q=inf", "gzip;q=-1", "deflate", ";" * 2_000)),
    *((HEADER_LENGTH, value) for value in ("0", "-1", "1", "99999999999999999999", "1_0", "+5", "\u0663")),
    ("X-Request-ID", "'; drop table"),
    ("Origin", "null"),
)
CONTENT_TYPES = (
    *("", JSON, "application/json; charset=utf-16", "APPLICATION/JSON", "text/plain", "image/png", "image/svg+xml"),
    *(
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "application/octet-stream",
    ),
    *("application/x-www-form-urlencoded", "image/" + "x" * 4_000, ";" * 1_000, 'multipart/form-data; boundary="a b"'),
    "multipart/form-data; boundary*=utf-9'en'%ff%fe",
)
FILENAMES = ("a.png", "../../a", "", "%00")
RAW_VALUES = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e-400",
        "9" * 400,
        "-0",
        "0.1e",
        "1" + "0" * 30,
        "00",
        "--1",
    ),
    *('"\\ud800"', '"\\u0000"', '"' + "\\u0041" * 3_000 + '"', "tru", "nul", "[", "{", "}", '{"a":1,"a":2}', "/*x*/1"),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        0.5,
        -0.0,
        1e308,
        -1e308,
        5e-324,
        2**31,
        2**53 + 1,
        2**63,
        2**64,
        -(2**63),
        10**30,
    ),
    *("", "0", "x", "nan", "../../etc/passwd", "a" * 10_000, "\U0001f600" * 200, "\u202e", "\x00", "0x10"),
    *([], {}, [[]], [[[[]]]], [None], [0] * 300, [[1, 2], [3]], [{}], {"": ""}, {"a": {"b": {"c": []}}}, [1e308] * 40),
)
DATATYPES = (
    "BOOL",
    "UINT8",
    "INT8",
    "INT64",
    "UINT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
    "",
    "fp32",
    "COMPLEX64",
)
SHAPES: tuple[Any, ...] = (
    *(
        [],
        [0],
        [-1],
        [1],
        [1, 28, 28],
        [2, 28, 28],
        [0, 28, 28],
        [1] * 100,
        [2**31],
        [2**62, 4],
        [2**63],
        [1, -28, -28],
    ),
    *([1.0, 28, 28], ["1"], None, 5, [[1]], [10**30], [True], [3_000_000_000, 0], [65_536, 65_536, 65_536, 65_536]),
)


class Hostile(NamedTuple):
    kind: str
    message: Message


@cache
def _deep(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


def bodies(document: Mapping[str, Any], seed: int) -> Iterator[Hostile]:
    """Without end; the same of the same document and seed."""
    random, real = Random(seed), real_requests(document)
    while True:
        maker = random.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
        kind, message = KINDS[maker][0](random, real)
        yield Hostile(f"{maker}: {kind}" if kind else maker, _around(random, message))


def real_requests(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Path and JSON of each POST route that takes it: what the documentation shows."""
    found: list[tuple[str, Any]] = [
        ("/predict/iris-mlp", {"rows": [[5.1, 3.5, 1.4, 0.2]]}),
        ("/predict/xor-mlp", {"rows": [[0, 1], [1, 1]]}),
        ("/predict/frozenlake-dqn", {"rows": [[14]]}),
        ("/predict/news-mlp", {"texts": ["the striker scored twice in the second half"]}),
        ("/explain/iris-mlp", {"rows": [[5.1, 3.5, 1.4, 0.2]]}),
        ("/explain/news-mlp", {"texts": ["shares fell as the bank raised its rate"]}),
        ("/v2/models/iris-mlp/infer", tensors("rows", [1, 4], "FP32", [5.1, 3.5, 1.4, 0.2])),
        ("/v2/models/news-mlp/infer", tensors("text", [1], "BYTES", ["shares fell"])),
        ("/v2/models/mnist-dnn/versions/1/infer", tensors("image", [1, 28, 28], "UINT8", [0] * 784)),
        ("/v2/repository/models/mnist-cnn/load", {"parameters": {}}),
        ("/v2/repository/models/mnist-cnn/unload", {"parameters": {"unload_dependents": False}}),
    ]
    for path, operations in document["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {}).get(JSON, {})
        examples = [content["example"]] if "example" in content else []
        examples += [example["value"] for example in content.get("examples", {}).values()]
        for example in examples:
            # What an example is of, its own address says only in the text; another name is a 404 at once.
            found += [(address, example) for address in _addresses(path) if _fits(path, address)]
    return found


def tensors(name: str, shape: list[int], datatype: str, data: object) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


def _addresses(path: str) -> list[str]:
    addresses = [path]
    for name, values in NAMES.items():
        if f"{{{name}}}" in path:
            addresses = [address.replace(f"{{{name}}}", value) for address in addresses for value in values]
    return addresses


def _fits(path: str, address: str) -> bool:
    """/cluster's example is of players."""
    return path != "/cluster/{model}" or "mnist-cnn" in address


# --- kinds -----------------------------------------------------------------------------------------------------------

Real = list[tuple[str, Any]]
Made = tuple[str, Message]


def _post(path: str, content_type: str, body: bytes, **more: str) -> Message:
    return Message(path, {**({"Content-Type": content_type} if content_type else {}), **more}, body)


def raw_picture(random: Random, _real: Real) -> Made:
    kind, picture = hostile_picture(random)
    return kind, _post(random.choice(PICTURE_ROUTES), random.choice(("image/png", "image/jpeg", "image/x")), picture)


def form(random: Random, _real: Real) -> Made:
    """Sound pictures in forms that are not."""
    boundary = random.choice((b"x", b"-" * 70, b"a" * 71, b"--", b"'()+_,-./:=?", b"x" * 3_000, b"a b", b"\xc3\xa4"))
    parts, names = (
        [],
        ("file", "file", "file", "File", "", "x", "file\\", "../file", "f" * 3_000, "file%00", "fi\u00e4e"),
    )
    for _ in range(random.choice((0, 1, 1, 2, 63, 64, 65, 300))):
        name = random.choice(names) if random.random() < 0.15 else "file"
        head = random.choice(
            (
                f'Content-Disposition: form-data; name="{name}"; filename="{random.choice(FILENAMES)}"',
                f"Content-Disposition: form-data; name={name}",
                f'content-disposition:form-data;name="{name}"',
                f"Content-Disposition: form-data; name*=utf-8''{name}",
                f'Content-Disposition: attachment; name="{name}"',
                "Content-Type: image/png",
                "Content-Disposition",
                ": x",
                "X: " + "y" * random.choice((10, 20_000)),
                f'Content-Disposition: form-data; name="{name}"\r\nContent-Transfer-Encoding: base64',
                "\r\n".join(["A: b"] * 500),
                f'Content-Disposition: form-data; name="{name}"\r\nContent-Type: multipart/mixed; boundary=y',
            )
            if random.random() < 0.4
            else (f'Content-Disposition: form-data; name="{name}"; filename="a"',)
        )
        content = random.choice(
            (samples()[0], samples()[0], b"", b"--" + boundary, b"\r\n--" + boundary[:-1], b"\r\n" * 99)
        )
        parts.append(b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n")
    body = b"".join(parts) + random.choice(
        (b"--" + boundary + b"--\r\n", b"--" + boundary + b"--", b"", b"--" + boundary)
    )
    body = random.choice((b"", b"", b"", b"preamble\r\n", b"\r\n" * 10_000)) + body
    if random.random() < 0.3:
        body = random.choice((flipped, cut, repeated))(random, body)[:3_000_000]
    told = boundary.decode("latin-1")
    content_type = (
        f'multipart/form-data; boundary="{told}"' if random.random() < 0.3 else f"multipart/form-data; boundary={told}"
    )
    return "", _post(random.choice(PICTURE_ROUTES), content_type, body)


def form_of_pictures(random: Random, _real: Real) -> Made:
    """Broken pictures in a sound form."""
    kinds, pictures = zip(*[hostile_picture(random) for _ in range(random.choice((1, 1, 2, 5)))], strict=True)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = b"".join(head + picture + b"\r\n" for picture in pictures) + b"--b--\r\n"
    kind = kinds[0] if len(kinds) == 1 else "several"
    return kind, _post(random.choice(PICTURE_ROUTES), "multipart/form-data; boundary=b", body)


def json_of_other_values(random: Random, real: Real) -> Made:
    path, document = random.choice(real)
    return "", _post(path, JSON, json.dumps(changed(random, document)).encode())


def changed(random: Random, document: Any) -> Any:
    """Members and values are others, gone, twice, or far more than were asked for."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            return _value(random)
        holder, key = random.choice(places)
        match random.randrange(6):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 0:
                holder.insert(key, copy.deepcopy(holder[key]))
            case 1 if isinstance(holder, dict):
                holder[random.choice(("x", "", "inputs", "__class__", "k" * 300, key + " "))] = _value(random)
            case 2 if isinstance(holder[key], list):
                holder[key] = (holder[key] * random.choice((2, 50, 3_000)))[:30_000]
            case 3 if isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
                holder[key] *= random.choice((-1, 0, 1e30, 1e-300, 1_000, 3))
            case _:
                holder[key] = _value(random)
    return document


def _value(random: Random) -> Any:
    return copy.deepcopy(random.choice(VALUES))


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Wherever there is a value."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield document, key
            yield from _places(value)
    elif isinstance(document, list):
        for place, value in enumerate(document[:40]):
            yield document, place
            yield from _places(value)


def json_that_is_none(random: Random, real: Real) -> Made:
    path, document = random.choice(real)
    text = json.dumps(document)
    match random.randrange(6):
        case 0:
            depth = random.choice((10, 500, 1_100, 100_000))
            text = random.choice(
                (_deep(depth), "[" * depth, _deep(depth, '{"a":', "}"), text[:-1] + ',"z":' + _deep(depth) + "}")
            )
        case 1:
            return "bits", _post(path, JSON, random.choice((flipped, cut, repeated))(random, text.encode()))
        case 2:
            coding = random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"))
            return "other charset", _post(path, f"{JSON}; charset={coding}", text.encode(coding))
        case 3:
            return "no UTF-8", _post(path, JSON, text.encode().replace(b'"', b'"\xff\xfe\xed\xa0\x80', 1))
        case 4:
            text = random.choice(("", " ", "0", "null", '"x"', "[]", "{}", text + text, text + "\0", "\ufeff" + text))
        case _:
            value = random.choice(RAW_VALUES)
            text = json.dumps(changed(random, document))
            places = [place for place, letter in enumerate(text) if letter in "0123456789"] or [0]
            place = random.choice(places)
            text = text[:place] + value + text[place + 1 :]
    return "", _post(path, JSON, text.encode("utf-8", "surrogatepass"))


def compressed(random: Random, real: Real) -> Made:
    """Bombs, streams that end early, go on after their end, or are of another coding than is said."""
    path, document = random.choice(real)
    if random.random() < 0.7:
        path = "/v2/models/mnist-dnn/infer"
        document = tensors("image", [1, 28, 28], "UINT8", [0] * 784)
    content = random.choice((json.dumps(document).encode(), b" " * 30_000_000, bytes(19_000_000), b"[" * 5_000_000))
    packed = _packed(content, random.choice(("gzip", "deflate", "raw")))
    packed = random.choice(
        (packed, packed, packed[: len(packed) // 2], packed + packed, flipped(random, packed), packed + b"x")
    )
    return "", _post(
        path, JSON, packed, **{"Content-Encoding": random.choice(("gzip", "deflate", "gzip", "GZIP ", "br"))}
    )


@cache
def _packed(content: bytes, how: str) -> bytes:
    match how:
        case "gzip":
            return gzip.compress(content, mtime=0)
        case "deflate":
            return zlib.compress(content)
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def binary(random: Random, _real: Real) -> Made:
    """Open Inference: lengths, sizes, shapes and types that do not agree."""
    model, name, shape, datatype, size = random.choice(
        (
            ("mnist-dnn", "image", [1, 28, 28], "UINT8", 784),
            ("iris-mlp", "rows", [2, 4], "FP32", 32),
            ("news-mlp", "text", [2], "BYTES", 0),
            ("mnist-dnn", "image", [1], "BYTES", 0),
            ("toy-network", "x", [1, 3], "FP32", 12),
            ("clothing-photos", "photograph", [1, 128, 128, 3], "UINT8", 49_152),
        )
    )
    raw = random.randbytes(size) if size else _strings_of(random)
    said: Any = random.choice((len(raw), len(raw), len(raw), *LIES, len(raw) + 1, len(raw) - 1))
    header: dict[str, Any] = {
        "inputs": [
            {
                "name": name if random.random() < 0.9 else random.choice(("", "x", "images")),
                "shape": shape if random.random() < 0.6 else random.choice(SHAPES),
                "datatype": datatype if random.random() < 0.7 else random.choice(DATATYPES),
                "parameters": {"binary_data_size": said},
            }
        ]
    }
    if random.random() < 0.3:
        header["inputs"] *= random.choice((2, 300))
    if random.random() < 0.4:
        header["outputs"] = [
            {"name": random.choice(("probabilities", "x", "")), "parameters": random.choice(PARAMETERS)}
        ]
    if random.random() < 0.2:
        header["parameters"] = random.choice(PARAMETERS)
    if random.random() < 0.2:
        header = changed(random, header)
    text = json.dumps(header).encode()
    told = str(random.choice((*[len(text)] * 6, 0, len(text) - 1, len(text) + 1, len(text) + len(raw), -1, 2**40)))
    body = text + raw
    if random.random() < 0.15:
        body = random.choice((flipped, cut))(random, body)
    return "", _post(f"/v2/models/{model}/infer", "application/octet-stream", body, **{HEADER_LENGTH: told})


LIES: tuple[Any, ...] = (0, 1, -1, 2**31, 2**63, 10**30, 1.5, "784", None, True, [784])
PARAMETERS: tuple[Any, ...] = (
    *({"classification": value} for value in (0, -1, 3, 10**30, 1.5, "3", True)),
    *({"binary_data": True}, {"binary_data": "yes"}, {"binary_data_output": True}, {"sequence_id": 5}, {"headers": {}}),
    *({"timeout": 0}, {"timeout": -5}, {"timeout": 1}, {"timeout": 10**30}, {"priority": 2**64}, {"priority": "x"}),
    *({"shared_memory_region": "x"}, [], None, {"": None}),
)


def _strings_of(random: Random) -> bytes:
    """Elements of BYTES, each after its length, which may lie."""
    made = b""
    for _ in range(random.choice((0, 1, 2, 2, 3))):
        content = random.choice(
            (b"", b"shares fell", samples()[0], b"\xff\xfe", b"x" * 9_000, hostile_picture(random)[1])
        )
        length = (
            len(content) if random.random() < 0.8 else random.choice((0, 1, 2**31 - 1, 2**32 - 1, len(content) + 1))
        )
        made += struct.pack("<I", length) + content
    return made


PIECES = (
    *(
        "x",
        "y",
        "1",
        "2.5",
        "1e308",
        "1e-400",
        "9" * 50,
        "pi",
        "(",
        ")",
        "+",
        "-",
        "*",
        "/",
        "**",
        "@",
        "<",
        "==",
        ",",
        ".",
    ),
    *(
        "exp(",
        "log(",
        "softmax(",
        "sum(",
        "norm(",
        "where(",
        "max(",
        "dot(",
        "stop(",
        "axis=",
        "keepdims=",
        "=",
        " ",
        "\t",
    ),
    *(
        "lambda",
        "if",
        "__import__",
        "x.y",
        "[",
        "]",
        "{",
        "'",
        "#",
        "\\",
        ";",
        ":",
        "\n",
        "\0",
        "\u00b2",
        "\u03c0",
        "\U0001d465",
    ),
    *(
        "0x1f",
        "1_0",
        "1j",
        "2x",
        "None",
        "True",
        "not",
        "await",
        "*x",
        "**x",
        "yield",
        ":=",
        "f''",
        "~",
        "%",
        "//",
        "!",
    ),
)


def formula(random: Random, _real: Real) -> Made:
    depth = random.choice((3, 30, 90, 100, 101, 900))
    text = random.choice(
        (
            "".join(random.choices(PIECES, k=random.choice((1, 3, 8, 30, 400)))),
            "(" * depth + "x" + ")" * depth,
            "exp(" * depth + "x" + ")" * depth,
            "-" * depth + "x",
            "x" + "**x" * min(depth, 100),
            "+".join(["x"] * depth),
            "*".join(["y"] * min(depth, 199)),
            "x ** " + random.choice(("1e308", "-1e308", "9" * 300, "0.5", "-1", "1000000", "x ** x ** x")),
            "n" * depth,
            "1" * random.choice((300, 1_999, 5_000)),
            "x @ y",
            "softmax(x) @ y / 0 + log(0 - x) + sqrt(-1)",
            "where(x < y, " * min(depth, 60) + "x" + ", y)" * min(depth, 60),
            "max(x, axis=" + random.choice(("0", "1", "-3", "9" * 99, "True", "x", "-" * 200 + "1")) + ")",
            "norm(x - y) / norm(x * 0)",
            "sum(exp(x * 1e3)) - sum(exp(x * 1e3))",
        )
    )
    if random.random() < 0.2:
        return "", _post(
            "/gradients/approximation",
            JSON,
            json.dumps({"curve": text, "high": 2, "points": 9, "units": [1, 2]}).encode(),
        )
    inputs: dict[str, Any] = {"x": [1.5, -2.0], "y": [0.0, 3.0]}
    if random.random() < 0.4:
        inputs = random.choice(
            (
                *({"x": 0, "y": 0}, {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [1.0, 2.0]}, {}, {"x": 1e308, "y": -1e308}),
                *({"x": [0.0] * 20, "y": [1.0] * 20}, {"x": [[0.5] * 20] * 20, "y": [[1e-200] * 20] * 20}),
                *({"x": []}, {"exp": 1.0}, {"x" * 40: 1.0}, {"\u00e9": 2.0}, {"x": [[1], [2, 3]], "y": 1}),
                {f"x{number}": number for number in range(300)},
            )
        )
    asked: dict[str, Any] = {"expression": text, "inputs": inputs}
    for name in ("jacobian", "hessian", "graph", "check"):
        if random.random() < 0.4:
            asked[name] = True
    if random.random() < 0.2:
        asked["constants"] = random.choice((["x"], ["z"], "x", [], ["x"] * 500))
    if random.random() < 0.1:
        asked["v"] = random.choice(VALUES)
    accept = {"Accept": "image/svg+xml"} if random.random() < 0.1 else {}
    return "", _post("/gradients/expression", JSON, json.dumps(asked).encode(), **accept)


def mismatched(random: Random, real: Real) -> Made:
    """A sound body, but to another route or as another type than it is."""
    path, document = random.choice(real)
    body = random.choice((json.dumps(document).encode(), hostile_picture(random)[1], random.randbytes(100), b""))
    path = random.choice((*PICTURE_ROUTES, *[address for address, _ in real], path))
    return "", _post(path, random.choice(CONTENT_TYPES), body)


def addressed(random: Random, real: Real) -> Made:
    """Names that no model has."""
    name = quote(
        random.choice(
            (
                "..",
                "../../etc/passwd",
                "",
                ".",
                "%",
                "a" * 5_000,
                "\0",
                "mnist-cnn/",
                "\u00e4",
                "MNIST-CNN",
                "*",
                "mnist-cnn\n",
                "-1",
            )
        ),
        safe="",
    )
    path = random.choice(
        (
            *("/predict/{}", "/cluster/{}", "/explain/{}", "/gradients/{}", "/train/{}", "/v2/models/{}/infer"),
            *("/v2/models/mnist-cnn/versions/{}/infer", "/v2/repository/models/{}/load"),
        )
    )
    return "", _post(path.format(name), random.choice(CONTENT_TYPES), json.dumps(random.choice(real)[1]).encode())


def _around(random: Random, message: Message) -> Message:
    """Now and then with an odd query, or an odd header."""
    path, headers = message.path, dict(message.headers)
    if random.random() < 0.15 and "?" not in path:
        known = [query for begin, queries in QUERIES.items() if path.startswith(begin) for query in queries]
        path += "?" + random.choice(known)
    if random.random() < 0.15:
        name, value = random.choice(HEADERS)
        headers[name] = value
    return Message(path, headers, message.body)


# With how often; pictures have fifteen kinds of their own.
KINDS: dict[str, tuple[Callable[[Random, Real], Made], int]] = {
    "picture": (raw_picture, 30),
    "form": (form, 10),
    "form of pictures": (form_of_pictures, 8),
    "JSON of other values": (json_of_other_values, 20),
    "no JSON": (json_that_is_none, 10),
    "compressed": (compressed, 4),
    "binary tensors": (binary, 14),
    "formula": (formula, 14),
    "of another type": (mismatched, 6),
    "addresses": (addressed, 3),
}
