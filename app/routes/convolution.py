"""POST /convolution: a matrix or a picture under a kernel, as numbers or a picture. GET /convolution: the kernels."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from app.computation import require_room_for
from app.convolve import OF_MATRIX, InAddress, drawing, reading, telling
from app.errors import ContentTooLarge, InvalidRequest, UnsupportedMediaType
from app.lab.convolution_answer import Convolved, KernelList, kernel_list
from app.lab.convolution_request import (
    KERNEL,
    MOST_BYTES,
    PADDING,
    POOL,
    POOL_SIZE,
    POOL_STRIDE,
    STRIDE,
    ConvolutionRequest,
)
from app.problems import documented
from app.routes.accepted import JSON, PNG
from app.routes.dependencies import DeadlineDep, ServiceDep
from app.routes.lab import faults, gives_too, respond, takes
from app.uploads import Picture, read_json_or_picture

router = APIRouter(tags=["convolution"])

BINARY = {"type": "string", "format": "binary"}
BODY = takes(ConvolutionRequest)
BODY["requestBody"]["content"] |= {
    "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {"file": BINARY}}},
    "image/*": {"schema": BINARY},
}
PICTURE = gives_too(
    PNG,
    "As JSON, or the last stage as a gray picture for who asks for it, `Accept: image/png`: a pixel for each number, "
    "the least of them black, the greatest white, evenly between.",
    BINARY,
)
FAULTS = {
    413: (
        "More bytes, numbers or pixels than are allowed.",
        ContentTooLarge("matrix has 1 × 257 numbers; at most 256 on a side are allowed"),
    ),
    415: (
        "Neither JSON nor a picture.",
        UnsupportedMediaType(
            "content type 'text/csv' is not read here: send a matrix as application/json, or a picture as image/* or "
            "multipart/form-data with a part named 'file'"
        ),
    ),
    422: (
        "Readable, but nothing that can be computed: no kernel of that name, one that does not fit, a parameter out of "
        "range.",
        InvalidRequest("the kernel has 3 × 3 numbers and what it goes over 2 × 2; allowed is one that fits in it"),
    ),
}


def of_pictures(text: str) -> str:
    return f"Of a picture; with JSON it is a member of the body. {text}"


async def _address(
    kernel: Annotated[str | None, Query(description=of_pictures(KERNEL), examples=["sobel-x"])] = None,
    padding: Annotated[str | None, Query(description=of_pictures(PADDING), examples=["same"])] = None,
    stride: Annotated[int | None, Query(description=of_pictures(STRIDE))] = None,
    pool: Annotated[str | None, Query(description=of_pictures(POOL), examples=["max"])] = None,
    pool_size: Annotated[int | None, Query(description=of_pictures(POOL_SIZE))] = None,
    pool_stride: Annotated[int | None, Query(description=of_pictures(POOL_STRIDE))] = None,
) -> InAddress:
    return InAddress(kernel, padding, stride, pool, pool_size, pool_stride)


async def _body(request: Request, service: ServiceDep) -> bytes | Picture:
    require_room_for(service, OF_MATRIX)
    settings = service.settings
    return await read_json_or_picture(request, settings.max_body_bytes, settings.max_files, "a matrix", MOST_BYTES)


@router.get("/convolution", summary="The kernels that have a name", response_model=KernelList)
async def list_kernels() -> Response:
    """Those of image processing, and what the first layers of our convolutional networks have learned: `mnist-cnn/3` is
    `conv1.weight[3]` in PyTorch."""
    return Response(orjson.dumps(kernel_list()), media_type=JSON)


@router.post(
    "/convolution",
    summary="Convolve and pool a matrix or a picture of your own",
    responses=documented(408) | faults(FAULTS) | PICTURE,
    response_model=Convolved,
    openapi_extra=BODY,
)
async def convolve(
    request: Request,
    address: Annotated[InAddress, Depends(_address)],
    deadline: DeadlineDep,
    body: Annotated[bytes | Picture, Depends(_body)],
    service: ServiceDep,
) -> Response:
    """What a layer of a convolutional network does, with a kernel of your own or one that has a name, in float64: every
    number of the convolution, and of the pooling after it. A picture is made gray, 0 to 255, and reduced to at most 256
    pixels on the longer side. Kernels are not turned round: it is a cross-correlation, as PyTorch's."""
    read, sent = reading(body, address, service.settings.max_pixels)
    return await respond(request, service, {JSON: telling(read), PNG: drawing(read)}, sent, deadline)
