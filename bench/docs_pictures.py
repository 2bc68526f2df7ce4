"""The pictures of docs/label-your-own.md, taken from the page itself: desktop and phone, and a datasheet.

    python bench/docs_pictures.py            # needs playwright and chromium; writes docs/_static/label-*.png

Nine images are labelled first, so that the page shows its progress.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

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
    "label-desktop": {"viewport": {"width": 960, "height": 640}},
    "label-phone": {"viewport": {"width": 390, "height": 720}, "has_touch": True, "is_mobile": True},
}
IMAGES, FIRST = 2000, 9


def label_some(page: Page, images: Dataset, asked: list[int]) -> None:
    """Say who labels, and label the first images asked for by keyboard."""
    assert images.labels is not None
    page.wait_for_selector("#mcal-name")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    for image in asked:
        page.wait_for_selector(f"img.picture[alt$='image {image}']:not(.loading)")
        page.keyboard.press(str((images.labels[image] + 1) % 10))
    page.wait_for_timeout(500)


def page_of_labels(browser: Browser, images: Dataset, name: str, folder: Path) -> None:
    """One picture of the page, with a session of its own."""
    world = SimulatedWorld(IMAGES, Analytic(alpha=3.0, gamma=0.4), seed=3)
    session = Session.over(world, Job(n=IMAGES, config=Config.certified()), images, folder / f"{name}.jsonl")
    desk = Desk(session)
    server = Server(desk, Api(desk, Pictures(images)))
    try:
        page = browser.new_page(**SCREENS[name])
        page.goto(server.url)
        page.wait_for_selector("#mcal-name")
        label_some(page, images, session.batches.batches[0].indices.tolist()[:FIRST])
        page.screenshot(path=STATIC / f"{name}.png")
    finally:
        server.stop()
        desk.close()


def page_of_datasheet(browser: Browser, images: Dataset, folder: Path) -> None:
    """A picture of the head of a datasheet, of a run that is labelled for it."""
    result = label(images, annotate=GroundTruth(images), width=8, recipe="brief", emit=None)
    page = browser.new_page(viewport={"width": 960, "height": 900})
    page.goto(datasheet.write(result, folder / "datasheet.html").as_uri())
    page.screenshot(path=STATIC / "datasheet.png")


def main() -> None:
    images = load("fashion_mnist_10k", first=IMAGES)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in SCREENS:
            page_of_labels(browser, images, name, Path(folder))
        page_of_datasheet(browser, images, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()
