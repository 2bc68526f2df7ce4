"""Labelling in a web browser, or in a notebook: ``serve(session)`` and ``widget(session)``."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcal_jax.errors import McalError
from mcal_jax.labelling.browser.api import Api
from mcal_jax.labelling.browser.pictures import Pictures
from mcal_jax.labelling.desk import Desk
from mcal_jax.labelling.doors import Visit
from mcal_jax.session import Batch, Session

FAREWELL = 3.0
"""Seconds for which the page is served after the last label, so that every page learns of the end."""


def serve(
    session: Session,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    hosts: Sequence[str] = (),
    folder: str | Path | None = None,
    emit: Callable[[str], None] = print,
    **of_desk: Any,
) -> None:
    """Have the images of a session labelled in web browsers; returns when all have labels, or at Ctrl-C.

    Args:
      host: the address to listen on: this machine alone by default, "0.0.0.0" for the network.
      port: by default a free one.
      token: what a page must know; by default a new one. It is part of the address that ``emit`` gets.
      hosts: further names by which browsers may call this machine.
      folder: where the picture files are, if the session's images came from a table of them.
      emit: called with each line of text.
      of_desk: how several annotators are asked, weighed and paid: opinions, aggregation, mistake_cost, prices, gold,
        lease; see ``Desk``.

    Nothing leaves the machine but to those who know the token. Raises McalError without the packages of the extra
    ``browser``, if the port is taken, or if the session fails.
    """
    try:
        from mcal_jax.labelling.browser.server import Server
    except ImportError as error:
        raise McalError(f"the page needs {error.name}: pip install 'mcal-jax[browser]'") from None
    desk = Desk(session, **of_desk)
    server = Server(desk, Api(desk, Pictures(session.dataset, folder)), host, port, token, hosts)
    emit(f"label the images at {server.url}\n(Ctrl-C stops; the same command goes on where it was)")
    _until_done(desk, server)


def _until_done(desk: Desk, server: Any) -> None:
    """Serve until all images have labels. Raises McalError if the session fails."""
    try:
        while not desk.wait(0.5):
            pass
        time.sleep(FAREWELL)
    finally:
        server.stop()
    if (status := desk.status()).state == "failed":
        raise McalError(status.message)


def by_page(visit: Visit) -> Batch | None:
    """The door of ``mcal label --browser``: serves the page until every image has a label. Raises as ``serve`` does."""
    serve(visit.session, folder=visit.source, emit=visit.emit, **visit.page)
    return visit.session.ask()


def widget(session: Session, **settings: Any) -> Any:
    """A widget for Jupyter in which to label the images of a session; ``settings`` are those of ``Desk``.

    Training runs beside it in a thread. Raises McalError without the packages of the extra ``widget``.
    """
    try:
        from mcal_jax.labelling.browser.notebook import LabellingWidget
    except ImportError as error:
        raise McalError(f"the widget needs {error.name}: pip install 'mcal-jax[widget]'") from None
    return LabellingWidget(session, **settings)
