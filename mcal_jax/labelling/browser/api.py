"""What a page may ask of a desk, as plain JSON: the same for a server and for a widget in a notebook."""

import unicodedata
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from mcal_jax.algorithm.protocol import UNKNOWN
from mcal_jax.errors import McalError, as_text
from mcal_jax.labelling.browser.pictures import Pictures
from mcal_jax.labelling.desk import Desk

LONGEST_NAME = 60
MOST_IMAGES = 12


class Api:
    """Calls of a page: ``call("answer", {"annotator": "ada", "image": 3, "label": 1})``.

    Every call but ``hello`` returns the images that the annotator holds then, their last answers, and the status.
    """

    def __init__(self, desk: Desk, pictures: Pictures):
        self.desk, self.pictures = desk, pictures
        self.calls = {
            "hello": self._hello,
            "take": lambda who, body: None,
            "answer": lambda who, body: desk.answer(who, self._image(body), _label(body)),
            "skip": lambda who, body: desk.skip(who, self._image(body)),
            "undo": lambda who, body: desk.undo(who, self._image(body) if "image" in body else None),
            "pause": lambda who, body: desk.release(who),
        }

    def call(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a call. Raises McalError for one that makes no sense, or that comes too late."""
        if name not in self.calls:
            raise McalError(f"no call {name!r}")
        annotator = _annotator(body)
        count = 0 if name in ("hello", "pause") else _number(body, "count", 1, MOST_IMAGES)
        reply = self.calls[name](annotator, body)
        return reply if isinstance(reply, dict) else self._state(annotator, count)

    def picture(self, body: Mapping[str, Any]) -> tuple[bytes, str]:
        """An image, encoded, and its media type. Raises McalError."""
        return self.pictures.encoded(self._image(body))

    def _hello(self, annotator: str, body: Mapping[str, Any]) -> dict[str, Any]:
        dataset = self.desk.session.dataset
        return {
            "name": as_text(PurePath(dataset.name).name),
            "classes": list(dataset.classes),
            "opinions": self.desk.opinions,
        }

    def _state(self, annotator: str, count: int) -> dict[str, Any]:
        status = self.desk.status()
        images = self.desk.take(annotator, count) if count else []
        return {
            "images": [self._described(image) for image in images],
            "answers": [{"image": image, "label": label} for image, label in self.desk.answers(annotator)],
            "status": {**status._asdict(), "progress": status.progress._asdict()},
        }

    def _described(self, image: int) -> dict[str, Any]:
        return {"image": image, "name": self.pictures.name(image), "purpose": self.desk.purpose(image)}

    def _image(self, body: Mapping[str, Any]) -> int:
        return _number(body, "image", 0, len(self.desk.session.dataset.images) - 1)


def _annotator(body: Mapping[str, Any]) -> str:
    name = body.get("annotator")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
        raise McalError(f"annotator: a name of at most {LONGEST_NAME} characters")
    if any(unicodedata.category(character)[0] in "CZ" and character != " " for character in name):
        raise McalError("annotator: a name has no control characters")
    return name.strip()


def _label(body: Mapping[str, Any]) -> int:
    """The class, or UNKNOWN for null."""
    return UNKNOWN if body.get("label", 0) is None else _number(body, "label", 0, 2**31 - 1)


def _number(body: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise McalError(f"{name}: a whole number from {least} to {most}")
    return value
