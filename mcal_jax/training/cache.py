"""Compiled programs that outlive the process, kept in the user's cache folder."""

import hashlib
import os
import platform
from pathlib import Path
from tempfile import NamedTemporaryFile

import jax


def cache_folder() -> Path:
    """Where compiled programs are kept: mcal_jax in the user's cache folder (XDG_CACHE_HOME, if it is absolute).

    Raises OSError if there is no such folder and none can be made, or if it can't be written to.
    """
    variable = os.environ.get("XDG_CACHE_HOME", "")
    try:
        path = (Path(variable) if os.path.isabs(variable) else Path.home() / ".cache") / "mcal_jax"
    except RuntimeError:
        raise OSError("no home folder: set XDG_CACHE_HOME to a folder for compiled programs") from None
    path.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path):  # a folder's permissions say little about a disk that is read-only or full
        pass
    return path


def processor() -> str:
    """The kind of processor that code is compiled for: a cache folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    except OSError:
        return platform.machine() + platform.processor()


def digest(content: bytes) -> str:
    """16 hexadecimal digits that stand for ``content``."""
    return hashlib.sha256(content).hexdigest()[:16]


def enable_compilation_cache(folder: str | os.PathLike | None = None) -> Path | None:
    """Keeps compiled programs in ``folder``, by default one for this kind of processor in the user's cache folder.

    A later process that trains the same net compiles nothing. Returns the folder, or None if the user's can't be
    written to: then programs are compiled in every process. A user's cache may be shared by machines whose
    processors do not know the same instructions, and JAX does not tell their programs apart.
    """
    try:
        path = Path(folder) if folder is not None else cache_folder() / f"programs-{digest(processor().encode())}"
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path
