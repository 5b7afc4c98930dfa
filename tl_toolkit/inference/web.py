"""The web server of one model: a page for people, ``POST /predict`` for programs. It keeps nothing that it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from tl_toolkit.core.errors import BrokenImageError
from tl_toolkit.inference.guard import Guard

_RAW = ("image/", "application/octet-stream")
_FORM = "multipart/form-data"


class Scored(BaseModel):
    """A class and its probability."""

    name: str = Field(alias="class")
    probability: float = Field(ge=0, le=1)


class Neighbour(BaseModel):
    """A training photo that looks like the photo to the backbone that finds near duplicates."""

    label: str
    picture: str = Field(description="A data: address.")


class Answer(BaseModel):
    """What the model says of a photo."""

    label: str = Field(description="The most probable class, or 'unsure' below the threshold of the server.")
    top: list[Scored] = Field(description="All classes, the most probable first.")
    overlay: str | None = Field(
        None,
        description="Where the model looked (Grad-CAM), as a data: address; if asked for. Of a model that averages "
        "several views of a photo, it is where it looked in the photo as it is.",
    )
    neighbours: list[Neighbour] = Field(
        [], description="The nearest training photos, if asked for and kept by the run."
    )


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is served beside predictions.

    Attributes:
        page: HTML of ``/``.
        docs: The OpenAPI document -> HTML of ``/docs``.
        style, script: What both pages ask for.
    """

    page: str
    docs: Callable[[dict[str, Any]], str]
    style: str
    script: str


def application(
    answer: Callable[[bytes, bool], Answer],
    content: Content,
    *,
    hosts: frozenset[str] | None,
    max_bytes: int,
    threads: int,
) -> Any:
    """The server as an ASGI application.

    Args:
        answer: Content of an image file, and whether to explain -> answer; called by ``threads`` threads at a time. It
            raises ``BrokenImageError`` for what is no photo.
        hosts: Names by which a browser may call the server; None for any.
        max_bytes: Largest body of a request.
    """
    app = FastAPI(
        title="tl_toolkit",
        description="An image classifier.",
        version="1",
        docs_url=None,
        redoc_url=None,
        # Each would be a page or a file of another place, and the server's pages ask nobody for anything.
        swagger_ui_oauth2_redirect_url=None,
    )
    limiter = anyio.CapacityLimiter(threads)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        reasons = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"detail": "; ".join(reasons)}, 422)

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> JSONResponse:
        # Nobody hears it; but it is no defect of the server, which would log it.
        return JSONResponse({"detail": "The body ended before it was whole."}, 400)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(content.page, media_type="text/html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(content.docs(app.openapi()), media_type="text/html")

    @app.get("/style.css", include_in_schema=False)
    async def style() -> Response:
        return Response(content.style, media_type="text/css")

    @app.get("/script.js", include_in_schema=False)
    async def script() -> Response:
        return Response(content.script, media_type="text/javascript")

    @app.get("/health", summary="Whether the server answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": {"file": binary["schema"]}, "required": ["file"]}
    problems: dict[int | str, dict[str, Any]] = {
        413: {"model": Problem, "description": f"The body is larger than {max_bytes} bytes."},
        415: {"model": Problem, "description": "The body is neither a form nor an image."},
        422: {
            "model": Problem,
            "description": "It is not a whole photo, or one of more than 100 megapixels; or `explain` is no boolean.",
        },
    }

    @app.post(
        "/predict",
        summary="Classify a photo",
        description="The photo is the field named file of a form, or the whole body. Nothing of it is kept.",
        responses=problems,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {_FORM: {"schema": form}, "image/*": binary, "application/octet-stream": binary},
            }
        },
    )
    async def predict(request: Request, explain: bool = False) -> Answer:
        data = await _photo(request)
        try:
            return await anyio.to_thread.run_sync(answer, data, explain, limiter=limiter)
        except BrokenImageError as error:
            raise HTTPException(422, f"This cannot be read as a photo: {error}.") from error

    return Guard(app, hosts=hosts, max_bytes=max_bytes)


async def _photo(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(_RAW):
        return await request.body()
    if kind != _FORM:
        raise HTTPException(415, f"Send {_FORM} with a field `file`, or an image as image/*; got {kind or 'no type'}.")
    async with request.form(max_files=1, max_fields=8) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise HTTPException(422, "The form has no file in its field `file`.")
        return await file.read()
