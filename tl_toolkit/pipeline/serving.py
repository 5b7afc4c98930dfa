"""A model behind a small web server: page, JSON, and where the model looked."""

from __future__ import annotations

import base64
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from tl_toolkit.backbones.features import extractor
from tl_toolkit.core.console import note, output
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.prints import load_prints
from tl_toolkit.core.references import run_folder, run_of
from tl_toolkit.core.thumbnails import TRAIN, kept_picture, picture_file, thumbnail
from tl_toolkit.datasets.images import decode_image
from tl_toolkit.pipeline.explaining import explainer
from tl_toolkit.pipeline.predicting import load_model, model_file
from tl_toolkit.sections.document import render


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The options of ``python -m tl_toolkit.serve``.

    Attributes:
        port: 0 for any that is free.
        max_bytes: Largest body of a request.
        threshold: Below this probability the answer is ``unsure``.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8000
    max_bytes: int = 20_000_000
    threshold: float = 0.0


_NEIGHBOURS = 6


def serve(options: ServeOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        UserError: there is no such model, the address cannot be had, or packages of the extra ``serve`` are missing.
    """
    try:
        import uvicorn

        from tl_toolkit.inference import web
    except ModuleNotFoundError as error:
        raise UserError(
            f"Serving needs packages that are not installed ({error.name}): pip install '.[serve]'"
        ) from error
    listening = listening_at(options)
    path = model_file(options.model)
    classifier, looked, near = load_model(path), explainer(path), neighbours(path)
    names = classifier.classes_.tolist()

    def answer(data: bytes, wanted: bool) -> web.Answer:
        photo = decode_image(data)
        [said] = classifier.predict(photo, threshold=options.threshold)
        found = near(photo) if wanted and near else []
        picture = None
        if wanted and looked:
            picture = thumbnail(looked.explain(photo, names.index(said.label)), side=512, quality=80)
        return web.Answer(
            label=said.answer,
            top=[
                web.Scored.model_validate({"class": name, "probability": min(p, 1.0)})
                for name, p in said.top(len(names))
            ],
            neighbours=[web.Neighbour(label=label, picture=picture) for label, picture in found],
            overlay=f"data:image/webp;base64,{base64.b64encode(picture).decode()}" if picture else None,
        )

    answer(_blank(), True)  # what is compiled on first use
    templates = resources.files("tl_toolkit.sections") / "templates"
    limits = {"max_bytes": options.max_bytes, "max_megabytes": f"{options.max_bytes / 1e6:.0f}"}
    title = run_folder(options.model)
    style = "".join((templates / name).read_text(encoding="utf-8") for name in ("style.css", "serve.css"))
    content = web.Content(
        page=render(
            "serve.html.j2",
            names=names,
            title=f"{title.parent.name}/{title.name}",
            one_view=bool(looked and looked.one_view),
            threshold=f"{100 * options.threshold:g} %" if options.threshold else "",
            **limits,
        ),
        docs=lambda document: render("serve_docs.html.j2", document=document, **limits),
        style=style,
        script=(templates / "serve.js").read_text(encoding="utf-8"),
    )
    app = web.application(
        answer,
        content,
        hosts=hosts_of(listening, options.host),
        max_bytes=options.max_bytes,
        threads=os.cpu_count() or 1,
    )
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, server_header=False
    )
    server = uvicorn.Server(config)
    # uvicorn stops at either signal by itself, once it runs, and then raises it again for who had asked for it before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    host, port = listening.getsockname()[:2]
    note(f"{path}: {len(names)} classes; Ctrl-C stops")
    output.print(f"http://{f'[{host}]' if ':' in host else host}:{port}/", markup=False)
    with listening:
        server.run(sockets=[listening])
    note("Stopped.")


def neighbours(path: Path) -> Callable[[np.ndarray], list[tuple[str, str]]] | None:
    """What finds the training photos most like a photo: uint8 (h, w, 3) -> their labels and thumbnails as ``data:``
    addresses, the closest first. None where the model's run keeps no thumbnails.

    Only photos whose thumbnails are kept are found.
    """
    run = run_of(path)
    prints = load_prints(run) if run else None
    if run is None or prints is None:
        return None
    kept = np.array([at for at, i in enumerate(prints.featured) if picture_file(run, int(i), TRAIN).exists()], np.int64)
    if not len(kept):
        return None
    features = prints.features[kept].astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    extract, lock = extractor(prints.backbone), threading.Lock()

    def near(photo: np.ndarray) -> list[tuple[str, str]]:
        with lock:
            own = extract(photo)[: features.shape[1]]
        closest = prints.featured[kept[np.argsort(-(features @ own), kind="stable")[:_NEIGHBOURS]]]
        pictures = ((prints.class_names[prints.labels[i]], kept_picture(run, int(i), TRAIN)) for i in closest)
        return [(label, picture) for label, picture in pictures if picture]

    return near


def _blank() -> bytes:
    return thumbnail(np.zeros((64, 64, 3), np.uint8))


def listening_at(options: ServeOptions) -> socket.socket:
    """A socket that listens at the first address that the host means.

    Raises:
        UserError: there is no such address, or it cannot be had.
    """
    try:
        [family, _, _, _, address] = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    # Of names that can be none, and of ports beyond 65535, other errors are raised than of those that are not there.
    except (OSError, OverflowError, UnicodeError) as error:
        where = f"{options.host}:{options.port}"
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UserError(f"{where} cannot be served at ({reason}): name another --host or --port.") from error


def hosts_of(listening: socket.socket, host: str) -> frozenset[str] | None:
    """Names by which a browser may call a server, in lower case: its own, on loopback; any, where others are let in.

    Args:
        listening: What says which of both it is: many names mean loopback.
        host: As the user named it.
    """
    bound = listening.getsockname()[0]
    address = ipaddress.ip_address(bound)
    # Python 3.11 takes ::ffff:127.0.0.1 for no loopback.
    address = getattr(address, "ipv4_mapped", None) or address
    return frozenset({host.lower(), bound, "localhost", "127.0.0.1", "::1"}) if address.is_loopback else None
