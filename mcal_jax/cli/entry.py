"""The entry point of ``mcal``: exit codes, and one line for each error."""

import contextlib
import errno
import io
import os
import signal
import sys
from typing import NoReturn

from cyclopts import CycloptsError

from mcal_jax.cli import commands, estimates, labelling, notebooks, reproduction  # noqa: F401 - they register their commands
from mcal_jax.cli.app import app
from mcal_jax.errors import McalError


def main() -> None:
    """Entry point: a user's mistake ends in one line and exit code 2, anything unforeseen in one line and 1, Ctrl-C in
    130, being terminated in 143, a closed pipe in 141 without a word. With --debug errors show their traceback."""
    words = sys.argv[1:]
    debug = "--debug" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be text, and the locale need not be UTF-8
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app([word for word in words if word != "--debug"], print_error=False, exit_on_error=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _end(130, "interrupted; the same command goes on from here")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        raise SystemExit(141) from None
    except Exception as error:
        if debug:
            raise
        _end(*exit_code_and_message(error))


def exit_code_and_message(error: Exception) -> tuple[int, str]:
    """Exit code and one line for an error, ours or a library's."""
    text = " ".join(str(error).split()) or type(error).__name__
    match error:
        case McalError() | CycloptsError():
            return 2, text
        case UnicodeError():
            return 2, f"text that is not UTF-8: {text}"
        case OSError() if error.filename is not None:
            return 2, f"{os.fsdecode(error.filename)}: {error.strerror or text}"
        case OSError(errno=errno.ENOSPC):
            return 2, "no space is left on the disk, or where the output goes"
        case MemoryError():
            return 2, f"not enough memory: {text}"
        case ModuleNotFoundError():
            return 2, f"the package {error.name} is missing: pip install 'mcal-jax[notebooks]' brings all that is used"
    return 1, f"unforeseen {type(error).__name__}: {text[:300]}; the same command with --debug shows where"


def _end(code: int, text: str) -> NoReturn:
    with contextlib.suppress(BrokenPipeError):
        print(f"mcal: {text}", file=sys.stderr)
    raise SystemExit(code) from None


def _terminated(number: int, frame: object) -> None:
    """SIGTERM: end at once, workers too; logs are whole at any moment, and drafts are cleared away the next time."""
    print("mcal: terminated; the same command goes on from here", file=sys.stderr, flush=True)
    os._exit(128 + number)
