"""A running Label Studio: its SDK, over connections that reach no other server and read no endless answer."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import httpx
from label_studio_sdk import ImportApiRequest, LabelStudio
from label_studio_sdk.core.api_error import ApiError
from pydantic import SecretStr

from mcal_jax.errors import McalError, shown

LARGEST_ANSWER = 32_000_000
"""Bytes of an answer of the server, beyond which it is not read."""
PAGE = 200
"""Projects or tasks in one answer."""
MOST_PROJECTS = 10_000
TIMEOUT = 60.0
"""Seconds for which the server may be silent."""
STRANGE = "does not answer as Label Studio does"


class Studio:
    """Label Studio at ``url``, with the user's ``key``: an access token, old or new. All methods raise McalError."""

    def __init__(self, url: str, key: SecretStr):
        self.url, self._key = url, key
        self._http = httpx.Client(
            transport=_OneServer(url), timeout=TIMEOUT, follow_redirects=False, trust_env=False,
            headers={"accept-encoding": "identity"},
        )  # fmt: skip
        with self._errors():
            self._sdk: Any = LabelStudio(
                base_url=f"{url}/", api_key=key.get_secret_value(), httpx_client=self._http, max_retries=0
            )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def project(self, mark: str) -> int | None:
        """The project whose description holds ``mark``, the oldest if there are several, or None."""
        with self._errors():
            projects = _bounded(self._sdk.projects.list(page_size=PAGE), MOST_PROJECTS, "projects")
            marks = {int(project.id): project.description or "" for project in projects}
        return min((number for number, text in marks.items() if mark in text), default=None)

    def create_project(self, title: str, mark: str, config: str, instruction: str) -> int:
        """A new project whose annotators see ``instruction`` and may skip pictures."""
        with self._errors():
            made = self._sdk.projects.create(
                title=title, description=mark, label_config=config, expert_instruction=instruction,
                show_instruction=True, show_skip_button=True, skip_queue="IGNORE_SKIPPED", maximum_annotations=1,
            )  # fmt: skip
            return int(made.id)

    def people(self) -> dict[int, str]:
        """The e-mail addresses of the users, by their numbers."""
        with self._errors():
            return {int(user.id): str(user.email) for user in self._sdk.users.list() if user.email}

    def tasks(self, project: int, number: int, most: int) -> list[dict[str, Any]]:
        """The tasks of batch ``number``, with their annotations; more than ``most`` are an error."""
        only = {"filter": "filter:tasks:data.batch", "operator": "equal", "type": "Number", "value": number}
        query = json.dumps({"filters": {"conjunction": "and", "items": [only]}})
        with self._errors():
            tasks = self._sdk.tasks.list(project=project, query=query, page_size=PAGE)
            return [task.model_dump() for task in _bounded(tasks, most, f"tasks of batch {number}")]

    def upload(self, project: int, pictures: Sequence[tuple[bytes, str]]) -> list[str]:
        """Send pictures, each with its media type; returns the addresses at which the server keeps them."""
        names = [f"picture-{k}.{media.rpartition('/')[2]}" for k, (_, media) in enumerate(pictures)]
        files = {name: (name, *picture) for name, picture in zip(names, pictures, strict=True)}
        with self._errors():
            # The SDK has no call for this; its own connection knows how to send either kind of token.
            answer = self._sdk._client_wrapper.httpx_client.request(
                f"api/projects/{project}/import", method="POST", params={"commit_to_project": False}, files=files
            )
            if not answer.is_success:
                raise ApiError(status_code=answer.status_code, headers=dict(answer.headers), body=answer.text)
            numbers = json.dumps([int(number) for number in answer.json()["file_upload_ids"]])
            # The server reads one list, and not, as the SDK would send it, a number at a time.
            known = self._sdk.files.list(project, request_options={"additional_query_parameters": {"ids": numbers}})
            kept = {re.split(r"-(?=picture-\d+\.\w+$)", str(one.file))[-1]: str(one.file) for one in known}
            return [f"/data/{kept[name]}" for name in names]

    def add(self, project: int, tasks: Iterable[dict[str, Any]]) -> None:
        """Add tasks to a project."""
        with self._errors():
            self._sdk.projects.import_tasks(project, request=[ImportApiRequest(**task) for task in tasks])

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the SDK, of the connection and of strange answers, each in a line that does not show the key."""
        try:
            yield
        except ApiError as error:
            raise McalError(f"{self.url} {self._said(error)}") from None
        except httpx.HTTPError as error:
            raise McalError(f"can't reach {self.url}: {self._short(error) or type(error).__name__}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"{type(error).__name__}: {self._short(error)}"
            raise McalError(f"{self.url} {STRANGE}: {what}") from None

    def _said(self, error: ApiError) -> str:
        """What an answer that tells of an error says."""
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code in (401, 403):
            return f"refuses the key: {self._short(_detail(error.body))}"
        if 300 <= (error.status_code or 0) < 400:
            return f"sends us on to {self._short(headers.get('location', 'nowhere'))}; give the address it is at"
        if error.status_code == 200:
            return f"{STRANGE}: {self._short(error.body)}"
        return f"answers {error.status_code}: {self._short(_detail(error.body))}"

    def _short(self, what: object) -> str:
        """A line of at most 200 characters, without the key."""
        text = " ".join(str(what).split()).replace(self._key.get_secret_value(), "***")
        return shown(text if len(text) <= 200 else f"{text[:200]}…")


def _detail(body: object) -> object:
    """What an answer says in its field for that, where it has one."""
    if isinstance(body, str):
        with contextlib.suppress(ValueError):
            body = json.loads(body)
    return body.get("detail", body) if isinstance(body, dict) else body


def _bounded(items: Iterable[Any], most: int, what: str) -> Iterator[Any]:
    """The items, unless there are more than ``most``. Raises McalError."""
    for number, item in zip(count(1), items, strict=False):
        if number > most:
            raise McalError(f"the server lists more than {most:,} {what}")
        yield item


class _OneServer(httpx.HTTPTransport):
    """Sends to one server alone, and reads no answer of more than ``LARGEST_ANSWER`` bytes."""

    def __init__(self, url: str):
        super().__init__()
        self._origin = _origin(httpx.URL(url))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises McalError for a request to another server, and for an answer that is packed."""
        if _origin(request.url) != self._origin:
            raise McalError(f"nothing is sent to {shown(str(request.url.host))}, which is another server")
        response = super().handle_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise McalError(f"{request.url.host} sends a packed answer, which was not asked for")
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Short(response.stream)
        return response


class _Short(httpx.SyncByteStream):
    """A stream that ends in an error where it is too long."""

    def __init__(self, stream: httpx.SyncByteStream):
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        length = 0
        for part in self._stream:
            length += len(part)
            if length > LARGEST_ANSWER:
                raise McalError(f"the server's answer has more than {LARGEST_ANSWER:,} bytes")
            yield part

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
