"""The page: what it promises about safety, each promise alone, and a person who labels a batch by keyboard."""

import asyncio
import io
import json
import os
import re
import shutil
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import EASY
from PIL import Image

import mcal_jax
from mcal_jax import Config, McalError, Session, from_arrays, load
from mcal_jax.algorithm.job import Job
from mcal_jax.data import from_folder
from mcal_jax.labelling.browser.api import Api
from mcal_jax.labelling.browser.pictures import Pictures
from mcal_jax.labelling.browser.server import LARGEST_BODY, STATIC, Server, application
from mcal_jax.labelling.desk import Desk
from mcal_jax.runs.driver import drive
from mcal_jax.worlds.simulated import SimulatedWorld

N = 300
JOB = Job(n=N, config=Config(epsilon=0.2))
TOKEN = "the token"


def pool():
    pixels = np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3), np.uint8)
    return from_arrays(pixels, None, ["cat", "dog", "<b>owl</b>"])


@pytest.fixture
def desk(tmp_path):
    session = Session.over(SimulatedWorld(N, EASY, seed=3), JOB, pool(), tmp_path / "run.jsonl")
    desk = Desk(session)
    with desk._changed:
        assert desk._changed.wait_for(lambda: desk._state == "labelling", 20)
    yield desk
    desk.close()


class Browser:
    """A client of the application without a network; its headers are those of a good page unless told otherwise."""

    def __init__(self, desk, pictures=None, **settings):
        self.app = application(Api(desk, pictures or Pictures(desk.session.dataset)), TOKEN, **settings)

    def send(self, method, path, body=None, *, host="localhost:80", token=TOKEN, **headers):
        headers = {"host": host, "authorization": f"Bearer {token}", **headers}

        async def one():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(one())

    def call(self, name, annotator="ada", **body):
        return self.send("POST", f"/api/{name}", {"annotator": annotator, "count": 3, **body})


# ---------------------------------------------------------------------------------------------------------
# Calls


def test_a_page_labels_skips_and_takes_back(desk):
    browser = Browser(desk)
    assert browser.call("hello").json() == {
        "name": "arrays",
        "classes": ["cat", "dog", "<b>owl</b>"],
        "opinions": 1,
    }
    first = browser.call("take").json()
    one, two, three = (image["image"] for image in first["images"])
    reply = browser.call("answer", image=one, label=2).json()
    assert reply["answers"] == [{"image": one, "label": 2}]
    assert [image["image"] for image in reply["images"]][:2] == [two, three]
    assert browser.call("answer", image=two, label=None).json()["answers"][-1] == {"image": two, "label": -1}
    assert three not in [image["image"] for image in browser.call("skip", image=three).json()["images"]]
    assert browser.call("undo", image=two).json()["images"][0]["image"] == two
    assert browser.call("undo", image=two).json()["answers"] == [{"image": one, "label": 2}]
    reply = browser.call("pause").json()
    assert reply["images"] == []
    assert reply["status"]["state"] == "labelling"
    assert reply["status"]["progress"]["labelled"] == 1
    assert reply["status"]["progress"]["cost"] == pytest.approx(JOB.config.label_price)
    others = browser.call("take", "bob").json()["images"]
    assert two in [image["image"] for image in others]


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("answer", {"image": N, "label": 0}, "image: a whole number from 0 to 299"),
        ("answer", {"image": "../3", "label": 0}, "image: a whole number"),
        ("answer", {"image": True, "label": 0}, "image: a whole number"),
        ("answer", {"image": 0}, "label: a whole number"),
        ("answer", {"image": 0, "label": 3}, "class 3 of 3"),
        ("take", {"count": 1000}, "count: a whole number from 1 to 12"),
        ("answer", {"label": 0, "count": None}, "count: a whole number from 1 to 12"),
        ("take", {"annotator": ""}, "annotator: a name"),
        ("take", {"annotator": "a\x00"}, "no control characters"),
        ("take", {"annotator": "a" * 61}, "at most 60"),
        ("__init__", {}, "no call"),
    ],
)
def test_a_call_that_makes_no_sense_changes_nothing(desk, name, body, says):
    held, before = desk.take("ada")[0], len(desk.session.log.parts)
    reply = Browser(desk).send("POST", f"/api/{name}", {"annotator": "ada", "count": 3, "image": held, **body})
    assert reply.status_code == 409
    assert says in reply.json()["error"]
    assert len(desk.session.log.parts) == before


def test_a_file_whose_name_is_no_text_is_shown(tmp_path):
    files = tuple(os.fsdecode(b"caf\xe9-%d.png" % i) for i in range(N))
    session = Session.over(SimulatedWorld(N, EASY, seed=3), JOB, pool()._replace(files=files), tmp_path / "run.jsonl")
    desk = Desk(session)
    with desk._changed:
        assert desk._changed.wait_for(lambda: desk._state == "labelling", 20)
    (image,) = Browser(desk).call("take", count=1).json()["images"]
    assert image["name"] == f"caf\\xe9-{image['image']}.png"
    desk.close()


# ---------------------------------------------------------------------------------------------------------
# Promises of docs/security.md


@pytest.mark.parametrize("path", ["/api/take", "/api/image/0", "/api/nothing"])
@pytest.mark.parametrize("token", ["", "the toke", "the token "[:-2] + "m"])
def test_the_api_wants_the_token(desk, path, token):
    browser = Browser(desk)
    assert browser.send("POST", path, {"annotator": "ada"}, token=token).status_code == 401
    assert browser.send("GET", path, token=token).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", ""])
@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/image/0"])
def test_a_foreign_host_is_refused(desk, host, path):
    """A name of someone else's that leads to this machine: DNS rebinding."""
    assert Browser(desk).send("GET", path, host=host).status_code == 403
    assert Browser(desk, any_address=True).send("GET", path, host=host).status_code == 403


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:8000", "[::1]:8000", "lab.example:1"])
def test_our_own_hosts_are_served(desk, host):
    browser = Browser(desk, hosts=["lab.example"])
    assert browser.send("GET", "/", host=host).status_code == 200
    assert browser.send("GET", "/", host="192.168.0.7:80").status_code == 403
    assert Browser(desk, any_address=True).send("GET", "/", host="192.168.0.7:80").status_code == 200


def test_a_foreign_origin_is_refused(desk):
    browser = Browser(desk)
    for origin in ("http://evil.example", "null", "http://localhost:81", "http://localhost:80.evil.example"):
        assert browser.send("POST", "/api/take", {"annotator": "ada", "count": 1}, origin=origin).status_code == 403
    assert browser.call("take").status_code == 200
    good = browser.send("POST", "/api/take", {"annotator": "ada", "count": 1}, origin="http://localhost:80")
    assert good.status_code == 200
    assert not [name for name in good.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/static/none.js", "/api/image/0", "/api/image/9999"])
def test_every_response_forbids_what_the_page_does_not_need(desk, path):
    headers = Browser(desk).send("GET", path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_the_front_end_loads_nothing_from_elsewhere_and_writes_no_html():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page) == []
    for path in STATIC.iterdir():
        if path.suffix == ".png":
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|//\w+\.\w+/|@import|: *url\(", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize(
    "path",
    ["/static/../api.py", "/static/..%2fapi.py", "/static/%2e%2e/api.py", "/static//etc/passwd", "/static/.hidden"],
)
def test_static_files_are_a_fixed_list(desk, path):
    assert Browser(desk).send("GET", path).status_code == 404


def test_requests_are_bounded(desk):
    browser = Browser(desk)
    assert browser.send("POST", "/api/take", b"[" * LARGEST_BODY).status_code == 400
    assert browser.send("POST", "/api/take", b" " * (LARGEST_BODY + 1)).status_code == 413
    for body in (b"", b"[]", b"3", b"\xff", b'{"annotator": "ada"'):
        assert browser.send("POST", "/api/take", body).status_code == 400
    assert browser.send("GET", "/api/take").status_code == 405


def test_pictures_are_encoded_again_and_come_from_the_folder_alone(tmp_path, desk):
    folder = tmp_path / "pictures"
    folder.mkdir()
    secret = tmp_path / "secret.png"
    Image.new("RGB", (700, 400), "red").save(secret)
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (700, 400), "blue").save(folder / name)
    dataset = from_folder(folder, size=8, classes=["x", "y"])
    names = ("../secret.png", str(secret), "link.png")
    (folder / "link.png").symlink_to(secret)
    outside = Pictures(dataset._replace(files=names))
    for index in range(3):  # the pool's own small image instead
        content, kind = outside.encoded(index)
        assert kind == "image/png"
        assert Image.open(io.BytesIO(content)).size == (8, 8)
    (folder / "b.png").write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    inside = Pictures(dataset)
    content, kind = inside.encoded(0)
    assert kind == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (700, 400)
    for index in (1, 2):
        content, kind = inside.encoded(index)
        assert (kind, Image.open(io.BytesIO(content)).format) == ("image/png", "PNG")
    for index in (-1, 3):
        with pytest.raises(McalError, match="of 3"):
            inside.encoded(index)
    assert Browser(desk).send("GET", "/api/image/0").headers["content-type"] == "image/png"
    assert Browser(desk).send("GET", f"/api/image/{'9' * 5000}").status_code == 404
    assert Browser(desk).send("GET", "/api/image/..%2f..%2fsecret.png").status_code in (404, 405)


def test_an_answer_that_cannot_be_written_is_not_acknowledged(desk, monkeypatch):
    browser = Browser(desk)
    image = browser.call("take").json()["images"][0]["image"]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    reply = browser.call("answer", image=image, label=0)
    assert reply.status_code == 409
    assert "No space left on device" in reply.json()["error"]
    reply = browser.call("take").json()
    assert reply["images"] == []
    assert reply["status"]["state"] == "failed"


@pytest.fixture
def server(desk):
    server = Server(desk, Api(desk, Pictures(desk.session.dataset)), token=TOKEN)
    yield server
    server.stop()


def test_slow_clients_block_nobody(server):
    slow = []
    for _ in range(40):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"POST /api/take HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer the token\r\n")
        slow.append(client)
        half = socket.create_connection(("127.0.0.1", server.port))
        half.sendall(
            b"POST /api/take HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer the token\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        slow.append(half)
    url = f"http://127.0.0.1:{server.port}"
    reply = httpx.post(
        f"{url}/api/take",
        json={"annotator": "ada", "count": 3},
        headers={"authorization": f"Bearer {TOKEN}"},
        timeout=20,
    )
    assert len(reply.json()["images"]) == 3
    for client in slow:
        client.close()


def test_it_listens_on_this_machine_alone_and_its_token_is_long(desk):
    server = Server(desk, Api(desk, Pictures(desk.session.dataset)))
    try:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        assert len(server.url.partition("#")[2]) >= 32
        with pytest.raises(McalError, match=f"can't serve on 127.0.0.1, port {server.port}"):
            Server(desk, Api(desk, Pictures(desk.session.dataset)), port=server.port)
    finally:
        server.stop()


# ---------------------------------------------------------------------------------------------------------
# In Python, in notebooks, in a browser


def test_serve_returns_when_all_have_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(mcal_jax.labelling.browser, "FAREWELL", 0.1)
    session = Session.over(SimulatedWorld(N, EASY, seed=3), JOB, pool(), tmp_path / "run.jsonl")
    lines = []

    def work(line):
        lines.append(line)
        url, token = re.search(r"(http://\S+)/#(\S+)", line).groups()
        client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30)
        thread.append(threading.Thread(target=label_all, args=(client,)))
        thread[0].start()

    def label_all(client):
        state, images = "", []
        while state != "finished":
            body = {"annotator": "ada", "count": 4, "wait": True}
            if images:
                reply = client.post("/api/answer", json={**body, "image": images[0]["image"], "label": 0}).json()
            else:
                reply = client.post("/api/take", json=body).json()
            state, images = reply["status"]["state"], reply["images"]

    thread = []
    session.serve(token=TOKEN.replace(" ", "-"), emit=work)
    thread[0].join(20)
    assert session.result().bill == drive(JOB, SimulatedWorld(N, EASY, seed=3)).outcome.ledger
    assert len(lines) == 1


def test_a_widget_answers_by_messages(tmp_path, monkeypatch):
    widgets = pytest.importorskip("mcal_jax.labelling.browser.notebook")
    session = Session.over(SimulatedWorld(N, EASY, seed=3), JOB, pool(), tmp_path / "run.jsonl")
    widget, sent = session.widget(), []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    with widget.desk._changed:
        assert widget.desk._changed.wait_for(lambda: widget.desk._state == "labelling", 20)
    widget._answer(widget, {"id": 1, "name": "take", "body": {"annotator": "ada", "count": 2}}, [])
    image = sent[0][0]["reply"]["images"][0]["image"]
    widget._answer(widget, {"id": 2, "name": "image", "body": {"image": image}}, [])
    assert sent[1][0] == {"id": 2, "type": "image/png"}
    assert sent[1][1][0].startswith(b"\x89PNG")
    for message in ({"id": 3, "name": "image", "body": {"image": -1}}, {"id": 4, "name": "no"}, {"id": 5, "body": 3}):
        widget._answer(widget, message, [])
        assert sent[-1][0].keys() == {"id", "error"}
    monkeypatch.setattr(widget.api, "call", lambda name, body: 1 / 0)  # the front end waits for a reply
    widget._answer(widget, {"id": 6, "name": "take"}, [])
    assert sent[-1][0] == {"id": 6, "error": "division by zero"}
    bundle = widgets.bundle()
    assert not re.search(r"^import ", bundle, re.MULTILINE)
    assert len(re.findall(r"^export ", bundle, re.MULTILINE)) == 1
    widget.desk.close()


def chromium():
    """A page of the browser that is installed here, or the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not (path := shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no chromium on this machine")
    return playwright.sync_playwright(), path


def test_a_person_labels_by_keyboard(tmp_path):
    manager, path = chromium()
    images = load("fashion_mnist_10k", first=N)
    session = Session.over(SimulatedWorld(N, EASY, seed=3), JOB, images, tmp_path / "run.jsonl")
    desk = Desk(session)
    server = Server(desk, Api(desk, Pictures(images)))
    try:
        with manager as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page, trouble = browser.new_page(), []
            page.on("console", lambda message: trouble.append(message.text))
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.goto(server.url)
            page.wait_for_selector("#mcal-name")
            assert page.evaluate("location.href") == server.url.partition("#")[0]  # the token is out of sight
            page.keyboard.type("Ada")
            page.keyboard.press("Enter")
            tests = session.batches.batches[0].indices.tolist()
            for position, image in enumerate(tests):
                page.wait_for_selector(f"img.picture[alt$='image {image}']:not(.loading)")
                page.keyboard.press(str((images.labels[image] + 1) % 10))
                if position == 0:  # a slip, taken back
                    page.wait_for_selector(".strip .done")
                    page.keyboard.press("z")
                    page.wait_for_selector(f"img.picture[alt$='image {image}']:not(.loading)")
                    page.keyboard.press(str((images.labels[image] + 1) % 10))
            page.wait_for_selector(".purpose:text('Training set')")
            page.keyboard.press("p")
            page.wait_for_selector("text=Paused")
            browser.close()
        deadline = time.monotonic() + 10
        while session._driver.number == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert np.array_equal(session._driver.labels[tests], images.labels[tests])
        parts = [part for part in session.log.parts if "labels" in part]
        assert {part["annotator"] for part in parts} == {"Ada"}
        assert trouble == []
    finally:
        server.stop()


def test_the_front_end_is_in_the_package():
    assert {path.name for path in Path(STATIC).iterdir()} >= {"index.html", "page.js", "app.js", "view.js", "style.css"}
