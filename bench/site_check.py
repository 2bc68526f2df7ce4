"""Every page of the documentation site, and of a report, in headless Chromium: accessibility, links, requests, layout.

    npm install --prefix /tmp/axe axe-core
    python bench/site_check.py docs/_build/html --axe /tmp/axe/node_modules/axe-core/axe.min.js --report report.html

Needs playwright and a Chromium (``--chromium``). For each page: violations of axe-core, light and dark; internal links
whose page or anchor is not there; requests to other hosts; whether the page is wider than a phone; milliseconds to the
first paint. Ends with 1 where any page has a fault.
"""

import argparse
import functools
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
LINKS = "[...document.querySelectorAll('a[href]')].map(a => a.href)"
IDS = "[...document.querySelectorAll('[id], a[name]')].map(e => e.id || e.name)"
PAINT = "(performance.getEntriesByName('first-contentful-paint')[0] || {startTime: 0}).startTime"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SLOW = 1000
"""Milliseconds in which the first screen must be there."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """A server of this machine alone, already running."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def violations(page: Page, axe: str, scheme: str) -> Iterator[str]:
    """What axe-core finds on a page in a colour scheme."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate(axe)
    # Another page's frames and colours that cannot be computed are no violations.
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    for one in found:
        places = [node["target"][0] for node in one["nodes"]]
        yield f"axe ({scheme}) {one['id']}: {len(places)} times, first {places[0]}: {one['help']}"


def check(
    browser: Browser, url: str, axe: str, ids: dict[str, set[str]]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """The measurements, faults and links of a page; its anchors go to ``ids``."""
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url, url) else None)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.goto(url)
    paint, wider = page.evaluate(PAINT), page.evaluate(WIDER)
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    if axe:
        faults += [*violations(page, axe, "light"), *violations(page, axe, "dark")]
    links, ids[url] = page.evaluate(LINKS), set(page.evaluate(IDS))
    context.close()
    faults += [f"request to {address[:80]}" for address in foreign]
    faults += [f"{wider} pixels wider than a phone"] if wider > 0 else []
    faults += [f"first paint after {paint:.0f} ms"] if paint > SLOW else []
    return {"first_paint_ms": round(paint), "requests": len(foreign)}, faults, links


def _is_foreign(address: str, own: str) -> bool:
    return urlsplit(address).scheme not in ("data", "blob") and urlsplit(address).netloc != urlsplit(own).netloc


def broken(links: dict[str, list[str]], ids: dict[str, set[str]], root: Path, base: str) -> dict[str, list[str]]:
    """The internal links of each page that lead to no file, or to no anchor of its page."""
    faults: dict[str, list[str]] = {}
    for page, own in links.items():
        for link in sorted(set(own)):
            target, _, anchor = link.partition("#")
            if not target.startswith(base):
                continue
            path = root / unquote(urlsplit(target).path).lstrip("/")
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file():
                faults.setdefault(page, []).append(f"broken link {link}")
            elif anchor and target in ids and unquote(anchor) not in ids[target]:
                faults.setdefault(page, []).append(f"no such place {link}")
    return faults


def main() -> None:
    """Check a site, and a report if one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="the folder of the built site")
    parser.add_argument("--report", type=Path, help="a page of mcal report")
    parser.add_argument("--axe", type=Path, help="axe.min.js; without it accessibility is not checked")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    parser.add_argument("--only", default="", help="pages whose path contains this")
    given = parser.parse_args()
    axe = given.axe.read_text(encoding="utf-8") if given.axe else ""
    server = serve(given.site)
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    paths = sorted(path for path in given.site.rglob("*.html") if given.only in str(path))
    urls = [base + path.relative_to(given.site).as_posix() for path in paths]
    urls += [given.report.resolve().as_uri()] if given.report else []
    results, faults, links, ids = {}, {}, {}, {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        for url in urls:
            results[url], faults[url], links[url] = check(browser, url, axe, ids)
        browser.close()
    server.shutdown()
    for url, own in broken(links, ids, given.site, base).items():
        faults[url] += own
    for url, own in faults.items():
        for fault in own:
            print(f"{url.removeprefix(base)}: {fault}")
    slowest = max(result["first_paint_ms"] for result in results.values())
    count = sum(map(len, faults.values()))
    summary = {"pages": len(urls), "faults": count, "slowest_first_paint_ms": slowest}
    summary |= {"requests_elsewhere": sum(result["requests"] for result in results.values()), "axe": bool(axe)}
    print(json.dumps(summary))
    sys.exit(bool(count))


if __name__ == "__main__":
    main()
