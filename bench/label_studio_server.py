"""Label Studio for a while, on this machine alone, and scripted annotators who label there through its SDK.

Label Studio wants an environment of its own: ``pip install label-studio`` there, and LABEL_STUDIO=/path/to/label-studio
here, unless it is on the PATH.
"""

import contextlib
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

EMAIL, TOKEN = "ada@example.com", "0123456789abcdef0123456789abcdef01234567"


def command() -> str | None:
    """The program label-studio, None where there is none."""
    return os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """A server whose data are in ``folder``; gives its address. Its one user has the key TOKEN."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "LABEL_STUDIO_USERNAME": EMAIL, "LABEL_STUDIO_PASSWORD": TOKEN, "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "",
    }  # fmt: skip
    words = ["start", "--internal-host", "127.0.0.1", "--port", str(port), "--no-browser", "--data-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    with (folder / "log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [str(command()), *words], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(f"http://127.0.0.1:{port}", server, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    """Wait until the server answers; it makes its database first."""
    began = time.monotonic()
    while time.monotonic() < began + 600:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        if server.poll() is not None:
            break
        time.sleep(0.5)
    raise SystemExit(f"Label Studio does not start: {log.read_text(encoding='utf-8')[-2000:]}")


class Annotators:
    """People who label what lies in all projects of a server. ``choose``: the class of a picture by its file's name,
    None for one to be skipped."""

    def __init__(self, url: str, choose: Callable[[str], str | None]):
        from label_studio_sdk import LabelStudio

        self.url, self.choose = url, choose
        self._http = httpx.Client(trust_env=False, timeout=60, headers={"authorization": f"Token {TOKEN}"})
        self.sdk = LabelStudio(base_url=url, api_key=TOKEN, max_retries=0, httpx_client=self._http)

    def tasks(self) -> list[Any]:
        """The tasks of all projects."""
        projects = [project.id for project in self.sdk.projects.list()]
        return [task for project in projects for task in self.sdk.tasks.list(project=project, page_size=200)]

    def new_token(self) -> str:
        """An access token of the kind that Label Studio gives to new users."""
        return self._http.post(f"{self.url}/api/token/", json={}).json()["token"]

    def picture(self, task: Any) -> np.ndarray:
        """The picture of a task, as the server gives it."""
        return np.asarray(Image.open(io.BytesIO(self._http.get(self.url + task.data["image"]).content)))

    def answer(self, task: Any, label: str | None, who: int = 1) -> None:
        """Choose a class for a task, or skip it."""
        choice = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
        result = [] if label is None else [choice]
        self.sdk.annotations.create(id=task.id, result=result, was_cancelled=label is None, completed_by=who)

    def work(self, wants: Callable[[], bool] = lambda: True) -> int:
        """Answer those tasks without an answer that are wanted; returns how many."""
        tasks = [task for task in self.tasks() if not task.annotations and wants()]
        for task in tasks:
            self.answer(task, self.choose(task.data["file"]))
        return len(tasks)
