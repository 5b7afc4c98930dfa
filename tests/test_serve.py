"""The server of a model: asked by programs, by many at once, by nonsense, and by a real browser."""

from __future__ import annotations

import base64
import concurrent.futures
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import DESKTOP, PHONE, axe_violations, too_wide
from conftest import CLASSES, SmokeRun
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tl_toolkit import load_model, pipeline, serve
from tl_toolkit.core.prints import load_prints
from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.core.thumbnails import TRAIN, kept_picture, picture_file
from tl_toolkit.datasets.images import decode_image
from tl_toolkit.evaluation.explanations import overlay
from tl_toolkit.exporters.classifiers import classifier_of_heads
from tl_toolkit.pipeline.explaining import explainer
from tl_toolkit.pipeline.serving import hosts_of, listening_at, neighbours

LIMIT = 1_000_000


@dataclass(frozen=True)
class Serving:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def predict(self, photo: Any, kind: str = "image/jpeg", path: str = "/predict") -> tuple[int, dict[str, Any]]:
        status, _, body = self.ask("POST", path, photo, {"content-type": kind})
        return status, json.loads(body)


def connect(pixels: Any) -> Any:
    """A backbone that is no deeper than it must be to have maps."""
    layer = keras().layers.Conv2D(8, 8, strides=4, activation="relu")
    return layer(keras().layers.Rescaling(1 / 255)(pixels))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As heads are exported, but on backbones of one layer that learnt nothing: quick to load."""
    keras().utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    kernels, biases = rng.normal(0, 9, (2, 16, 3)).astype(np.float32), np.zeros((2, 3), np.float32)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    classifier_of_heads([(connect, 64), (connect, 32)], kernels, biases, CLASSES).save(path)
    return path


def started(run: Path, *words: str) -> Serving:
    process = subprocess.Popen(
        [sys.executable, "-m", "tl_toolkit.serve", str(run), "--port", "0", "--max-megabytes", "1", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    address = process.stdout.readline().strip()
    if not address:
        pytest.fail(process.communicate()[1])
    return Serving(process, address)


@pytest.fixture(scope="module")
def serving(model_file: Path) -> Iterator[Serving]:
    one = started(model_file)
    yield one
    one.process.send_signal(signal.SIGINT)
    _, said = one.process.communicate(timeout=30)
    assert one.process.returncode == 0, said
    assert said.splitlines()[-1] == "Stopped."
    assert "Traceback" not in said
    assert "ERROR" not in said


@pytest.fixture(scope="module")
def photos(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.jpg"))


def form(photo: bytes, field: str = "file") -> tuple[bytes, str]:
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="../../x"\r\n\r\n'.encode()
    return head + photo + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


class TestPrograms:
    def test_32_clients_at_once_get_the_answers_of_the_model(
        self, serving: Serving, model_file: Path, photos: list[Path]
    ) -> None:
        asked = (photos * 2)[:32]
        with concurrent.futures.ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(lambda path: serving.predict(path.read_bytes()), asked))
        for (status, answer), expected in zip(answers, load_model(model_file).predict(asked), strict=True):
            assert status == 200
            assert answer["label"] == expected.label
            assert [one["class"] for one in answer["top"]] == [name for name, _ in expected.top(3)]
            for one, (_, probability) in zip(answer["top"], expected.top(3), strict=True):
                assert one["probability"] == pytest.approx(probability, abs=1e-5)

    def test_a_form_says_the_same_as_the_body(self, serving: Serving, photos: list[Path]) -> None:
        photo = photos[0].read_bytes()
        assert serving.predict(*form(photo)) == serving.predict(photo)

    def test_it_shows_where_the_model_looked_if_asked(self, serving: Serving, photos: list[Path]) -> None:
        assert serving.predict(photos[0].read_bytes())[1]["overlay"] is None
        _, answer = serving.predict(photos[0].read_bytes(), path="/predict?explain=true")
        assert re.match(r"data:image/webp;base64,[A-Za-z0-9+/]{1000,}=*$", answer["overlay"])

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (422, b"nonsense", "image/png"),
            (422, b"", "image/png"),
            (422, *form(b"nonsense")),
            (422, *form(b"x", field="other")),
            (400, b"no form", "multipart/form-data; boundary=edge"),
            (400, b"no form", "multipart/form-data"),
            (415, b"{}", "application/json"),
            (415, b"", ""),
            (413, bytes(LIMIT + 1), "image/png"),
            (413, *form(bytes(LIMIT))),
            (413, iter([bytes(LIMIT // 2)] * 3), "image/png"),
        ],
    )
    def test_nonsense_is_refused_with_a_reason(self, serving: Serving, status: int, body: Any, kind: str) -> None:
        said, answer = serving.predict(body, kind)
        assert said == status, answer
        assert list(answer) == ["detail"]
        assert answer["detail"]

    def test_what_is_asked_for_wrongly_is_told_in_words(self, serving: Serving, photos: list[Path]) -> None:
        status, answer = serving.predict(photos[0].read_bytes(), path="/predict?explain=maybe")
        assert status == 422
        assert list(answer) == ["detail"]
        assert isinstance(answer["detail"], str)
        assert answer["detail"].startswith("explain: ")

    def test_half_a_photo_and_too_many_pixels_are_refused(self, serving: Serving, photos: list[Path]) -> None:
        file = io.BytesIO()
        Image.new("1", (20_000, 6_000)).save(file, "PNG")
        assert "megapixels" in serving.predict(file.getvalue())[1]["detail"]
        whole = photos[0].read_bytes()
        assert serving.predict(whole[: len(whole) // 2])[0] == 422

    def test_a_size_that_is_only_announced_is_refused_at_once(self, serving: Serving) -> None:
        with socket.create_connection(("127.0.0.1", serving.port), timeout=20) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
            assert b" 413 " in raw.recv(4096)

    @pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/run.json", "/run.json", "/predict/../x", "/redoc"])
    def test_there_are_no_other_files(self, serving: Serving, path: str) -> None:
        assert serving.ask("GET", path)[0] == 404
        assert serving.ask("GET", "/predict")[0] == 405

    def test_other_names_and_other_sites_are_refused(self, serving: Serving) -> None:
        here = f"127.0.0.1:{serving.port}"
        assert serving.ask("GET", "/health", headers={"host": "evil.example"})[0] == 421
        assert serving.ask("GET", "/health", headers={"host": f"localhost:{serving.port}"})[0] == 200
        assert serving.ask("GET", "/health", headers={"host": "[::1"})[0] == 421
        assert serving.ask("GET", "/health", headers={"origin": "http://evil.example"})[0] == 403
        assert serving.ask("GET", "/health", headers={"origin": "null"})[0] == 403
        assert serving.ask("GET", "/health", headers={"origin": "http://["})[0] == 403
        assert serving.ask("GET", "/health", headers={"origin": f"http://{here}", "host": here})[0] == 200

    def test_every_answer_has_its_guard(self, serving: Serving) -> None:
        for path in ("/", "/docs", "/openapi.json", "/health", "/nothing"):
            _, headers, _ = serving.ask("GET", path)
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"

    def test_it_describes_itself(self, serving: Serving) -> None:
        document = json.loads(serving.ask("GET", "/openapi.json")[2])
        assert set(document["paths"]) == {"/predict", "/health"}
        post = document["paths"]["/predict"]["post"]
        assert set(post["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
        assert {"200", "413", "415", "422"} <= set(post["responses"])

    def test_it_says_that_it_always_names_a_class(self, serving: Serving) -> None:
        assert "always names one of them: Beauty, Games, Home" in serving.ask("GET", "/")[2].decode()

    def test_it_listens_on_this_machine_alone(self, serving: Serving) -> None:
        assert serving.address.startswith("http://127.0.0.1:")


class TestHowItBeginsAndEnds:
    def test_packages_that_are_missing_are_the_users_to_install(
        self, model_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        assert serve.main([str(model_file)]) == 2
        assert "(uvicorn): pip install '.[serve]'" in capsys.readouterr().err

    def test_a_port_that_is_taken_is_the_users_to_mend(
        self, serving: Serving, model_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert serve.main([str(model_file), "--port", str(serving.port)]) == 2
        assert "name another --host or --port" in capsys.readouterr().err

    @pytest.mark.parametrize("host", [".foo", "a" * 64, "no.such.host.invalid", "192.0.2.1"])
    def test_hosts_that_cannot_be_served_at(
        self, model_file: Path, host: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert serve.main([str(model_file), "--port", "0", "--host", host]) == 2
        assert "name another --host or --port" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize("port", ["65536", "99999", "-1", "http"])
    def test_ports_that_there_are_not(self, port: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            serve.main(["model", "--port", port])
        assert caught.value.code == 2
        assert "--port" in capsys.readouterr().err

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "LOCALHOST", "127.0.0.2", "0x7f.1"])
    def test_every_name_of_this_machine_alone_has_the_guard(self, host: str) -> None:
        with listening_at(pipeline.ServeOptions(model=Path("model"), host=host, port=0)) as listening:
            bound = listening.getsockname()[0]
            assert hosts_of(listening, host) == {"localhost", "127.0.0.1", "::1", host.lower(), bound}

    def test_where_others_are_let_in_any_name_is_right(self) -> None:
        with listening_at(pipeline.ServeOptions(model=Path("model"), host="0.0.0.0", port=0)) as listening:
            assert hosts_of(listening, "0.0.0.0") is None

    def test_it_is_served_as_it_was_asked_to_until_it_is_told_to_stop(
        self, model_file: Path, photos: list[Path]
    ) -> None:
        one = started(model_file, "--host", "127.1", "--threshold", "0.999")
        assert one.address.startswith("http://127.0.0.1:")
        assert one.ask("GET", "/health", headers={"host": "evil.example"})[0] == 421
        assert one.ask("GET", "/health", headers={"host": f"127.1:{one.port}"})[0] == 200
        assert one.predict(photos[0].read_bytes())[1]["label"] == "unsure"
        page = one.ask("GET", "/")[2].decode()
        assert "none below a probability of 99.9 % (“unsure”): Beauty, Games, Home" in page
        assert "always" not in page
        # A client that goes away is no defect that would be logged.
        for kind in ("image/png", "multipart/form-data; boundary=edge"):
            with socket.create_connection(("127.0.0.1", one.port), timeout=20) as raw:
                head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
                raw.sendall(f"{head}Content-Length: 100\r\n\r\n--edge\r\n".encode())
            assert one.ask("GET", "/health")[0] == 200
        # A client that never ends does not hold it.
        with socket.create_connection(("127.0.0.1", one.port), timeout=20) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
            one.process.send_signal(signal.SIGTERM)
            _, said = one.process.communicate(timeout=30)
        assert one.process.returncode == 0, said
        assert "Traceback" not in said
        assert "ERROR" not in said


@dataclass
class Visited:
    page: Page
    requests: list[str]
    complaints: list[str]


@pytest.fixture
def visited(browser: Browser, serving: Serving, request: pytest.FixtureRequest) -> Iterator[Visited]:
    size, scheme = getattr(request, "param", (DESKTOP, "light"))
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, permissions=["camera"]
    )
    page = context.new_page()
    one = Visited(page, [], [])
    context.on("request", lambda asked: one.requests.append(asked.url))
    page.on("console", lambda said: one.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: one.complaints.append(str(error)))
    page.goto(serving.address)
    yield one
    context.close()
    assert all(url.startswith((serving.address, "data:", "blob:")) for url in one.requests)


LOOKS = [(size, scheme) for size in (PHONE, DESKTOP) for scheme in ("light", "dark")]


class TestInABrowser:
    @pytest.mark.parametrize("visited", LOOKS, indirect=True, ids=[f"{s[0]}-{c}" for s, c in LOOKS])
    def test_a_file_is_classified_and_explained(
        self, visited: Visited, photos: list[Path], model_file: Path, request: pytest.FixtureRequest
    ) -> None:
        page, [expected] = visited.page, load_model(model_file).predict(photos[0])
        page.set_input_files("#file", photos[0])
        page.wait_for_selector("#result:not([hidden])")
        assert page.inner_text("#label") == expected.label
        assert page.locator("#top th").all_inner_texts() == [name for name, _ in expected.top(3)]
        assert page.locator("#top td").first.inner_text() == f"{100 * expected.probability:.1f} %"
        for picture in ("#photo", "#heat"):
            assert page.locator(picture).evaluate("(one) => one.decode().then(() => one.naturalWidth)") > 0
        assert page.locator("#neighbours").is_hidden()
        assert page.locator("#top td").first.bounding_box()["height"] < 70  # on one line
        assert too_wide(page) == []
        assert visited.complaints == []
        if folder := os.environ.get("TL_TOOLKIT_SCREENSHOTS"):
            page.screenshot(path=Path(folder, f"{request.node.callspec.id}.png"), full_page=True)

    @pytest.mark.parametrize("path", ["", "docs"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_is_accessible(
        self, browser: Browser, serving: Serving, photos: list[Path], scheme: Any, path: str
    ) -> None:
        context = browser.new_context(color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        page.goto(serving.address + path)
        if not path:
            page.set_input_files("#file", photos[0])
            page.wait_for_selector("#result:not([hidden])")
        assert axe_violations(page) == []
        context.close()

    @pytest.mark.parametrize("event", ["paste", "drop"])
    def test_a_photo_is_pasted_or_dropped(self, visited: Visited, photos: list[Path], event: str) -> None:
        script = """([event, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "photo.jpg", { type: "image/jpeg" }));
            const given = event === "paste" ? new ClipboardEvent(event, { clipboardData: data, bubbles: true })
                : new DragEvent(event, { dataTransfer: data, bubbles: true, cancelable: true });
            document.querySelector("#drop").dispatchEvent(given);
        }"""
        visited.page.evaluate(script, [event, list(photos[0].read_bytes())])
        visited.page.wait_for_selector("#result:not([hidden])")
        assert visited.page.inner_text("#label") in CLASSES
        assert visited.complaints == []

    def test_the_camera_takes_a_photo_and_is_closed(self, visited: Visited) -> None:
        page = visited.page
        page.click("#camera")
        page.wait_for_selector("#viewfinder:not([hidden])")
        page.click("#shoot")  # when it is enabled
        page.wait_for_selector("#result:not([hidden])")
        assert page.locator("#viewfinder").is_hidden()
        assert visited.complaints == []

    def test_what_is_no_photo_is_said(self, visited: Visited, tmp_path: Path) -> None:
        page = visited.page
        (tmp_path / "broken.jpg").write_text("nonsense")
        page.set_input_files("#file", tmp_path / "broken.jpg")
        expect(page.locator("#state")).to_contain_text("cannot be read as a photo")
        (tmp_path / "large.jpg").write_bytes(bytes(LIMIT + 1))
        page.set_input_files("#file", tmp_path / "large.jpg")
        expect(page.locator("#state")).to_contain_text("larger than 1 MB")
        assert page.locator("#result").is_hidden()

    def test_the_keyboard_reaches_the_file_field(self, visited: Visited) -> None:
        page = visited.page
        reached = []
        for _ in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
        assert {"file", "camera"} <= set(reached)


class TestOverlays:
    def test_they_are_grad_cam_by_gradients(self, model_file: Path, photos: list[Path]) -> None:
        """Of one backbone at a time: its maps, weighted by the gradient of the class's mean score."""
        import cv2

        tf, k = tensorflow(), keras()
        model, photo = k.saving.load_model(model_file), decode_image(photos[0])
        heads, pooled = model.get_layer("heads"), model.get_layer("heads").input
        total = np.zeros(photo.shape[:2], np.float32)
        for name in ("maps_0", "maps_1"):
            maps = k.Model(model.inputs[0], model.get_layer(name).output)(photo[None])
            before = k.Model(model.inputs[0], pooled)(photo[None])
            at = 8 * int(name[-1])
            with tf.GradientTape() as tape:
                tape.watch(maps)
                own = tf.reduce_mean(maps, (1, 2))
                features = tf.concat([before[:, :at], own, before[:, at + 8 :]], 1)
                score = tf.reduce_mean(tf.reshape(heads(features), (2, 3))[:, 1])
            weights = tf.reduce_sum(tape.gradient(score, maps), (1, 2))[0]
            heat = tf.reduce_sum(maps[0] * weights, -1).numpy()
            total += cv2.resize(heat, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        total = np.maximum(total, 0)
        looked = explainer(model_file)
        assert looked
        expected = overlay(photo, total / total.max()).astype(int)
        assert not looked.one_view
        assert np.abs(looked.explain(photo, 1).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("given", "several"),
    [
        ({"network": "slash_cnn"}, False),
        ({"backbone": "efficientnet_lite0@64", "settings": {"test_time_views": 2}}, True),
    ],
    ids=["from-nothing", "fine-tuned"],
)
def test_networks_that_were_trained_are_explained_by_the_server(
    given: dict[str, Any], several: bool, pictures: Path, photos: list[Path], tmp_path: Path
) -> None:
    options = pipeline.TrainOptions(dataset=str(pictures), out=tmp_path, folds=3, smoke=True, **given)
    folder = pipeline.train(options).folder
    one = started(folder)
    try:
        status, answer = one.predict(photos[0].read_bytes(), path="/predict?explain=true")
        page = one.ask("GET", "/")[2].decode()
    finally:
        one.process.terminate()
        _, said = one.process.communicate(timeout=60)
    assert status == 200, said
    assert ("averages several views" in page) == several
    shown = decode_image(base64.b64decode(answer["overlay"].partition(",")[2]))
    looked = explainer(folder / "model" / "model.keras")
    assert looked
    expected = looked.explain(decode_image(photos[0]), CLASSES.index(answer["label"]))
    assert expected.std(axis=(0, 1)).max() > 5  # not the same everywhere
    # As far as a compressed picture is the same.
    assert np.abs(shown.astype(int) - expected).mean() < 5


def test_the_nearest_training_photo_of_one_of_them_is_itself(
    smoke_run: SmokeRun, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(smoke_run.folder, folder)
    model = folder / "model" / "model.keras"
    prints = load_prints(folder)
    assert prints is not None
    for index in prints.featured[9:]:
        picture_file(folder, int(index), TRAIN).unlink()
    near = neighbours(model)
    assert near is not None
    for index in map(int, prints.featured[:9]):
        found = near(decode_image(pictures / prints.paths[index]))
        assert len(found) == 6
        assert found[0] == (prints.class_names[prints.labels[index]], kept_picture(folder, index, TRAIN))
    for index in prints.featured[:9]:
        picture_file(folder, int(index), TRAIN).unlink()
    assert neighbours(model) is None  # as of a run that keeps no thumbnails
