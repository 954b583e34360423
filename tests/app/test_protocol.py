"""The protocol and a model brought together, without HTTP."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.encodings import compress
from app.errors import BadRequest, NotFound, NotReady, Overloaded
from app.open_inference import Reply
from app.protocol import INLINE_BYTES, Body, infer, model_ready, repository_index
from app.service import Service
from app.store import Artifact, Store


@pytest.fixture
def service(client: TestClient) -> Service:
    found: Service = client.app_state["service"]
    return found


def body(rows: int, **more: Any) -> bytes:
    entry = {"name": "image", "datatype": "UINT8", "shape": [rows, 28, 28], "data": [0] * 784 * rows}
    return json.dumps({"inputs": [entry], **more}).encode()


def test_signature_is_made_once_per_model(service: Service) -> None:
    model = service.store.find("digits")

    assert model.signature is model.signature
    assert model.signature.labels == tuple("0123456789")
    assert not model.has_bfloat16


def test_large_request_is_answered_as_a_small_one_is(service: Service) -> None:
    """What is large is read and written in threads."""
    model, rows = service.store.find("mnist-cnn"), 1_000
    small = json.loads(asyncio.run(infer(service, model, Body(body(1)))).body)
    large = json.loads(asyncio.run(infer(service, model, Body(body(rows)))).body)

    assert len(body(1)) < INLINE_BYTES < len(body(rows))
    for one, many in zip(small["outputs"], large["outputs"], strict=True):
        assert many["shape"] == [rows, 10]
        np.testing.assert_allclose(np.reshape(many["data"], (rows, 10)), np.tile(one["data"], (rows, 1)), atol=1e-6)


def test_of_many_that_bring_much_in_little_few_are_unpacked(service: Service) -> None:
    """80 kB each, and 19 MB once they are unpacked: who would wait with that much is refused at once."""
    model = service.store.find("mnist-cnn")
    packed = Body(compress(b" " * 19_000_000 + body(1), "gzip"), content_encoding="gzip")

    async def ask() -> list[Any]:
        return await asyncio.gather(*[infer(service, model, packed) for _ in range(20)], return_exceptions=True)

    told = asyncio.run(ask())

    refused = [each for each in told if isinstance(each, Overloaded)]
    answered = [each for each in told if isinstance(each, Reply)]
    assert len(packed.content) < 100_000
    assert len(refused) + len(answered) == 20
    assert 1 <= len(answered) <= 2
    assert all("the work under way takes" in each.detail for each in refused)
    assert (service.scheduler.admitted, service.scheduler.work) == (0, 0)


def test_tensors_as_bytes_count_for_little(service: Service) -> None:
    """Forty of 512 pictures each, 400 kB, are all taken; what they are expected to take is their model's time."""
    model, rows = service.store.find("mnist-mlp"), 512
    entry = {
        "name": "image",
        "datatype": "UINT8",
        "shape": [rows, 28, 28],
        "parameters": {"binary_data_size": 784 * rows},
    }
    head = json.dumps({"inputs": [entry]}).encode()
    raw = Body(head + bytes(784 * rows), header_length=str(len(head)))

    async def ask() -> list[Reply]:
        return await asyncio.gather(*[infer(service, model, raw) for _ in range(40)])

    shapes = {tuple(json.loads(reply.body)["outputs"][0]["shape"]) for reply in asyncio.run(ask())}
    assert shapes == {(rows, 10)}


def test_reply_says_how_it_is_encoded(service: Service) -> None:
    model = service.store.find("digits")
    binary = body(100, parameters={"binary_data_output": True})
    reply = asyncio.run(infer(service, model, Body(binary, accept_encoding="gzip")))

    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Encoding"] == "gzip"
    assert int(reply.headers["Inference-Header-Content-Length"]) > 100


def test_fault_of_ours_is_not_called_the_callers(service: Service) -> None:
    model = service.store.find("digits")
    broken = replace(model, session=None)
    broken.__dict__["signature"] = model.signature

    with pytest.raises(AttributeError):
        asyncio.run(infer(service, broken, Body(body(1))))
    with pytest.raises(BadRequest):
        asyncio.run(infer(service, model, Body(b"{}")))


def test_what_was_unloaded_is_told_as_such(service: Service) -> None:
    store = Store(service.store.models, unloaded=(Artifact("gone", "2", Path("gone")),))

    [gone] = [entry for entry in repository_index(store, b"") if entry["name"] == "gone"]

    assert gone == {
        "name": "gone",
        "version": "2",
        "state": "UNAVAILABLE",
        "reason": "unloaded",
    }
    for version in (None, "2"):
        with pytest.raises(NotReady, match="model 'gone' is not served: unloaded"):
            model_ready(store, "gone", version)
    with pytest.raises(NotFound):
        model_ready(store, "gone", "1")


def test_version_in_an_address_is_text(service: Service) -> None:
    assert service.store.find_text("digits", None) is service.store.find("digits")
    assert service.store.find_text("digits", "1") is service.store.find("digits")
    for version in ("v1", "01", "", "1.0", "-1", "٣", "2", "9" * 19, "9" * 5_000):
        with pytest.raises(NotFound, match="model 'digits' has no version"):
            service.store.find_text("digits", version)
    with pytest.raises(NotFound, match="there is no model 'absent'"):
        service.store.find_text("absent", "v1")
