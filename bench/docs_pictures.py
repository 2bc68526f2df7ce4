"""The pictures of docs/label-your-own.md: page and widget, on a desktop and a phone, light and dark, and a datasheet.

    python bench/docs_pictures.py                     # needs playwright and chromium; writes docs/_static/label-*.png
    python bench/docs_pictures.py --all --out FOLDER  # all of them; the widget in JupyterLab, which it starts

Nine images are labelled first, so that there is progress to see.
"""

import argparse
import contextlib
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

from mcal_jax import Config, GroundTruth, Session, label, load
from mcal_jax.algorithm.job import Job
from mcal_jax.data import Dataset
from mcal_jax.labelling import datasheet
from mcal_jax.labelling.browser.api import Api
from mcal_jax.labelling.browser.pictures import Pictures
from mcal_jax.labelling.browser.server import Server
from mcal_jax.labelling.desk import Desk
from mcal_jax.worlds.simulated import Analytic, SimulatedWorld

STATIC = Path(__file__).parent.parent / "docs/_static"
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 960, "height": 640}},
    "phone": {"viewport": {"width": 390, "height": 720}, "has_touch": True, "is_mobile": True},
}
LAB: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True},
}
SCHEMES = ("light", "dark")
IMAGES, FIRST = 2000, 9
CELL = """
from bench.docs_pictures import session_of
session = session_of("{log}")
session.widget()
"""


def session_of(log: str | Path) -> Session:
    """A session over the shipped images, trained in a simulated world."""
    world = SimulatedWorld(IMAGES, Analytic(alpha=3.0, gamma=0.4), seed=3)
    images = load("fashion_mnist_10k", first=IMAGES)
    return Session.over(world, Job(n=IMAGES, config=Config.certified()), images, log)


def label_some(page: Page, images: Dataset) -> None:
    """Say who labels, and label the first images that are shown, by keyboard."""
    assert images.labels is not None
    page.wait_for_selector("#mcal-name", timeout=300_000)
    page.fill("#mcal-name", "Ada")
    page.keyboard.press("Enter")
    before = ""
    for _ in range(FIRST):
        shown = page.wait_for_selector(f"img.picture:not(.loading):not([alt={json.dumps(before)}])", timeout=60_000)
        before = (shown and shown.get_attribute("alt")) or ""
        image = int(before.rsplit(" ", 1)[-1].removesuffix(".png"))
        page.keyboard.press(str((images.labels[image] + 1) % 10))
    page.wait_for_timeout(500)


def page_of_labels(browser: Browser, screen: dict[str, Any], scheme: str, path: Path, folder: Path) -> None:
    """One picture of the page, with a session of its own."""
    session = session_of(folder / f"{path.stem}.jsonl")
    desk = Desk(session)
    server = Server(desk, Api(desk, Pictures(session.dataset)))
    try:
        page = browser.new_page(**screen, color_scheme=scheme)
        page.goto(server.url)
        label_some(page, session.dataset)
        page.screenshot(path=path)
    finally:
        server.stop()
        desk.close()


def write_notebook(folder: Path, cell: str) -> None:
    """A notebook of one cell, label.ipynb."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(cell.strip())]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "label.ipynb")


@contextlib.contextmanager
def jupyter_lab(folder: Path, scheme: str) -> Iterator[str]:
    """JupyterLab with a theme, on a port of its own: the address of label.ipynb in it, token included."""
    settings = folder / "settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {scheme.title()}"}))
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, root = secrets.token_hex(16), Path(__file__).parent.parent
    paths = os.pathsep.join([str(root), str(root / "bench")])
    where = {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "PYTHONPATH": paths}
    command = ["lab", "--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={token}"]
    more = [f"--ServerApp.root_dir={folder}", f"--LabApp.workspaces_dir={folder / 'workspaces'}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", *command, *more], env={**os.environ, **where}, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/api", timeout=5).raise_for_status()
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/lab/tree/label.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait()


def page_of_widget(browser: Browser, screen: dict[str, Any], scheme: str, path: Path, folder: Path) -> None:
    """One picture of the widget in a live notebook."""
    home = folder / path.stem
    home.mkdir()
    write_notebook(home, CELL.format(log=home / "run.jsonl"))
    with jupyter_lab(home, scheme) as url:
        page = browser.new_page(**screen, color_scheme=scheme)
        run_notebook(page, url)
        if screen.get("is_mobile"):
            page.keyboard.press("Control+b")  # the list of files would cover the notebook
        label_some(page, load("fashion_mnist_10k", first=IMAGES))
        page.locator(".mcal-cell").first.scroll_into_view_if_needed()
        page.screenshot(path=path)


def run_notebook(page: Page, url: str) -> None:
    """Open a notebook and run its first cell, until the widget asks for a name.

    JupyterLab loses keys while it settles, so they are pressed until the cell runs.
    """
    page.goto(url)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=300_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached", timeout=300_000)
    prompt = page.locator(".jp-InputPrompt").first
    while prompt.inner_text().strip() in ("", "[ ]:"):
        page.click(".jp-Notebook .jp-Cell .jp-InputArea-editor", timeout=300_000)
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(3000)
    page.wait_for_selector("#mcal-name", timeout=300_000)


def page_of_datasheet(browser: Browser, out: Path, folder: Path) -> None:
    """A picture of the head of a datasheet, of a run that is labelled for it."""
    images = load("fashion_mnist_10k", first=IMAGES)
    result = label(images, annotate=GroundTruth(images), width=8, recipe="brief", emit=None)
    page = browser.new_page(viewport={"width": 960, "height": 900})
    page.goto(datasheet.write(result, folder / "datasheet.html").as_uri())
    page.screenshot(path=out / "datasheet.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="page and widget, light and dark")
    parser.add_argument("--out", type=Path, default=STATIC)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        browser, folder = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]), Path(temporary)
        for scheme, name in itertools.product(SCHEMES if args.all else SCHEMES[:1], SCREENS):
            dark = "" if scheme == "light" else "-dark"
            page_of_labels(browser, SCREENS[name], scheme, args.out / f"label-{name}{dark}.png", folder)
            if args.all:
                page_of_widget(browser, LAB[name], scheme, args.out / f"widget-{name}{dark}.png", folder)
        if not args.all:
            page_of_datasheet(browser, args.out, folder)
        browser.close()


if __name__ == "__main__":
    main()
