"""Folders of results that appear whole or not at all.

What is being written is in a folder beside it, ``.<name>.<process>``.
"""

import contextlib
import os
import shutil
from pathlib import Path


def replace(folder: Path, work: Path) -> None:
    """Replaces ``folder`` by ``work``, also if another process does the same at this moment."""
    old = work.with_name(f".{folder.name}.old.{os.getpid()}")
    for attempt in range(100):
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rename(folder, old)
            os.rename(work, folder)
            break
        except OSError:  # between the two calls the other process has put its own there
            if attempt == 99:
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def remove_stale(folder: Path) -> None:
    """Removes the temporary folders that killed processes left of this experiment."""
    for stale in folder.parent.glob(f".{folder.name}.*"):
        try:
            os.kill(int(stale.suffix[1:]), 0)
        except (ProcessLookupError, ValueError, OverflowError):
            shutil.rmtree(stale, ignore_errors=True)
        except PermissionError:
            pass  # its process is running, and of another user
