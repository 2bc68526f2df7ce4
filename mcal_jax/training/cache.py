"""Compiled programs that outlive the process, kept in the user's cache folder."""

import hashlib
import os
import platform
from pathlib import Path

from mcal_jax.files import cache_folder


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


def programs_folder() -> Path:
    """The folder of compiled programs in the user's cache folder: one for this kind of processor.

    A user's cache may be shared by machines whose processors do not know the same instructions, and JAX does not tell
    their programs apart. Raises OSError as ``cache_folder`` does.
    """
    return cache_folder() / f"programs-{digest(processor().encode())}"


def enable_compilation_cache(folder: str | os.PathLike | None = None) -> Path | None:
    """Keeps compiled programs in ``folder``, by default ``programs_folder``.

    A later process that trains the same net compiles nothing. Returns the folder, or None if the user's can't be
    written to: then programs are compiled in every process.
    """
    import jax

    try:
        path = Path(folder) if folder is not None else programs_folder()
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path
