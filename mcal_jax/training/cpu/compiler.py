"""The C++ library, built once by the machine's own compiler, if any, and loaded into JAX.

XLA's convolution is slow inside a compiled loop, and a matrix product must copy its input nine times over. Without a
compiler, or with MCAL_JAX_NATIVE=0 in the environment, nets use the matrix product.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import time
import warnings
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import jax
import jaxlib

from mcal_jax.training.cache import cache_folder, digest, processor

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O2", "-fpeel-loops", "-march=native", "-fPIC", "-w")
EXTRA_FLAGS = {"winograd.cc": ("-O3",)}
"""Of single files: -O3 for all takes twice as long to build and trains no faster."""
TARGETS = ("mcal_jax_conv", "mcal_jax_spread", "mcal_jax_kernel_gradient", "mcal_jax_sums")
PATIENCE = 300.0
"""Seconds that the compiler has in all."""


@cache
def available() -> bool:
    """Whether the library can be used here; builds and loads it at the first call, in a few seconds.

    Warns in one line if it can't be built.
    """
    if os.environ.get("MCAL_JAX_NATIVE") == "0" or jax.default_backend() != "cpu":
        return False
    command = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if command is None:
        warn("no C++ compiler (g++ or clang++) was found")
        return False
    try:
        library = ctypes.CDLL(str(build(shlex.split(command))))
        for target in TARGETS:
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
    except (OSError, RuntimeError, ValueError, AttributeError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "output", None) or str(error)).strip().splitlines()
        reason = next((line for line in lines if "error" in line), str(error))
        warn(f"{command} can't build {SOURCES}: {reason}")
        return False
    return True


def warn(reason: str) -> None:
    """Warn in one line that matrix products take the place of the library."""
    effect = "training is slower, with matrix products (MCAL_JAX_NATIVE=0 asks for them without this warning)"
    warnings.warn(f"{reason}, so {effect}", stacklevel=3)


def build(compiler: list[str]) -> Path:
    """The library, built unless that was done before by the same compiler on the same kind of processor.

    Its name holds the digest of its content: to load half a library, left by a full disk, say, may kill the process.
    Raises OSError, CalledProcessError or TimeoutExpired.
    """
    deadline = time.monotonic() + PATIENCE
    version = run([*compiler, "--version"], deadline=min(deadline, time.monotonic() + 30))
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]*"))]
    inputs = (*sources, version, jaxlib.__version__, FLAGS, EXTRA_FLAGS, processor())
    stem, kept = f"native-{digest(repr(inputs).encode())}", cache_folder()
    for path in kept.glob(f"{stem}-*.so"):
        if path.name == f"{stem}-{digest(path.read_bytes())}.so":
            return path
    with TemporaryDirectory(prefix="build-", dir=kept) as folder:
        objects = {source: str(Path(folder, source.stem + ".o")) for source in SOURCES.glob("*.cc")}
        command = [*compiler, *FLAGS, f"-I{jax.ffi.include_dir()}"]
        extra = {source: EXTRA_FLAGS.get(source.name, ()) for source in objects}
        run(*([*command, *extra[s], "-c", str(s), "-o", out] for s, out in objects.items()), deadline=deadline)
        library = Path(folder, "native.so")
        run([*command, "-shared", *objects.values(), "-o", str(library)], deadline=deadline)
        path = kept / f"{stem}-{digest(library.read_bytes())}.so"
        os.replace(library, path)
    return path


def run(*commands: list[str], deadline: float) -> str:
    """What ``commands``, run side by side, print. At the deadline, or at Ctrl-C, they end with all that they started.

    Raises OSError, CalledProcessError or TimeoutExpired.
    """
    group: Any = {"start_new_session": True} if os.name == "posix" else {}
    with ExitStack() as stack:
        started, texts = [], []
        for command in commands:
            out = stack.enter_context(TemporaryFile())  # a pipe would be waited for as long as anybody holds it
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **group)
            stack.callback(end, process)
            started.append((process, out))
        for process, out in started:
            code = process.wait(max(deadline - time.monotonic(), 0))
            out.seek(0)
            texts.append(out.read().decode("utf-8", "replace"))
            if code:
                raise subprocess.CalledProcessError(code, process.args, texts[-1])
    return "".join(texts)


def end(process: subprocess.Popen) -> None:
    """End a process, if it still runs, with all that it started."""
    if process.poll() is None:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
