"""The page as a widget of Jupyter: the same front end, with messages to the kernel in the place of HTTP."""

import re
from pathlib import Path
from typing import Any

import anywidget

from mcal_jax.labelling.browser.api import Api
from mcal_jax.labelling.browser.pictures import Pictures
from mcal_jax.labelling.desk import Desk
from mcal_jax.session import Session

STATIC = Path(__file__).parent / "static"
MODULES = ("parts.js", "view.js", "app.js", "notebook.js")


def bundle() -> str:
    """The modules of the front end as one, as a widget needs it."""
    texts = [(STATIC / name).read_text(encoding="utf-8") for name in MODULES]
    texts = [re.sub(r"^import .*\n", "", text, flags=re.MULTILINE) for text in texts]
    return "\n".join(re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE) for text in texts)


class LabellingWidget(anywidget.AnyWidget):
    """A cell in which to label the images of ``session``; ``desk`` has the status. Settings are those of ``Desk``."""

    _esm = bundle()
    _css = (STATIC / "style.css").read_text(encoding="utf-8")

    def __init__(self, session: Session, **settings: Any):
        super().__init__()
        self.desk = Desk(session, **settings)
        self.api = Api(self.desk, Pictures(session.dataset))
        self.on_msg(self._answer)

    def _answer(self, widget: Any, message: dict[str, Any], buffers: list[bytes]) -> None:
        """Reply to a message of the front end: ``id``, ``name`` of the call and its ``body``."""
        reply: dict[str, Any] = {"id": message.get("id")}
        name, body, content = str(message.get("name")), message.get("body"), []
        body = body if isinstance(body, dict) else {}
        try:
            if name == "image":
                picture, reply["type"] = self.api.picture(body)
                content = [picture]
            else:
                reply["reply"] = self.api.call(name, body)
        except Exception as error:  # whatever it is, the front end waits for a reply
            reply["error"] = str(error) or type(error).__name__
        self.send(reply, content)
