"""Convolutions and batch norm's sums for CPUs in C++ (cc/), built once by the machine's own compiler, if any.

XLA's convolution is slow inside a compiled loop, and a matrix product must copy its input nine times over. Without a
compiler, or with MCAL_JAX_NATIVE=0 in the environment, nets use the matrix product.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import time
import warnings
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory, TemporaryFile
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O2", "-fpeel-loops", "-march=native", "-fPIC", "-w")
MORE = {"winograd.cc": ("-O3",)}
"""What a file asks for beyond: -O3 for all takes twice as long to build and trains no faster."""
TARGETS = ("mcal_jax_conv", "mcal_jax_spread", "mcal_jax_kernel_gradient", "mcal_jax_sums")
PATIENCE = 300.0
"""Seconds that the compiler has in all."""
LANES, OUT = 16, 4
"""The batch must be a multiple of the first, the output channels of the second."""


def cache_folder() -> Path:
    """Where compiled programs are kept: mcal_jax in the user's cache folder (XDG_CACHE_HOME, if it is absolute).

    Raises OSError if there is no such folder and none can be made, or if it can't be written to.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        path = (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "mcal_jax"
    except RuntimeError:
        raise OSError("no home folder: set XDG_CACHE_HOME to a folder for compiled programs") from None
    path.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path):  # a folder's permissions say little about a disk that is read-only or full
        pass
    return path


@cache
def available() -> bool:
    """Whether the convolutions can be used here; builds and loads them at the first call, in a few seconds."""
    if os.environ.get("MCAL_JAX_NATIVE") == "0" or jax.default_backend() != "cpu":
        return False
    named = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if named is None:
        return False
    try:
        library = ctypes.CDLL(str(build(shlex.split(named))))
        for target in TARGETS:
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
    except (OSError, RuntimeError, ValueError, AttributeError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "output", None) or str(error)).strip().splitlines()
        told = next((line for line in lines if "error" in line), str(error))
        warnings.warn(f"{named} can't build {SOURCES}, so training is slower: {told}", stacklevel=2)
        return False
    return True


def build(compiler: list[str]) -> Path:
    """The library, built unless that was done before by the same compiler on the same kind of processor.

    Its name holds the digest of its content: to load half a library, left by a full disk, say, may kill the process.
    Raises OSError, CalledProcessError or TimeoutExpired.
    """
    deadline = time.monotonic() + PATIENCE
    version = run([*compiler, "--version"], deadline=min(deadline, time.monotonic() + 30))
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]*"))]
    known = (*sources, version, jaxlib.__version__, FLAGS, MORE, processor())
    stem, kept = f"native-{digest(repr(known).encode())}", cache_folder()
    for path in kept.glob(f"{stem}-*.so"):
        if path.name == f"{stem}-{digest(path.read_bytes())}.so":
            return path
    with TemporaryDirectory(prefix="build-", dir=kept) as folder:
        objects = {source: str(Path(folder, source.stem + ".o")) for source in SOURCES.glob("*.cc")}
        command = [*compiler, *FLAGS, f"-I{jax.ffi.include_dir()}"]
        each = ([*command, *MORE.get(source.name, ()), "-c", str(source), "-o", to] for source, to in objects.items())
        run(*each, deadline=deadline)
        library = Path(folder, "native.so")
        run([*command, "-shared", *objects.values(), "-o", str(library)], deadline=deadline)
        path = kept / f"{stem}-{digest(library.read_bytes())}.so"
        os.replace(library, path)
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


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
    if process.poll() is None:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def processor() -> str:
    """What the code is built for: a cache folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    except OSError:
        return platform.machine() + platform.processor()


def fits(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Whether ``conv`` can do it: x [C, H, W, N], kernel [k, k, C, D].

    The gradient by x swaps C and D; images, which have few channels and meet stride 1, need none.
    """
    same = kernel.shape[:2] == (3, 3) and stride in (1, 2) and x.dtype == jnp.float32
    outputs = (kernel.shape[3],) if x.shape[0] < OUT and stride == 1 else kernel.shape[2:]
    return same and x.shape[3] % LANES == 0 and all(d % OUT == 0 for d in outputs)


def fits_sums(x: jax.Array) -> bool:
    """Whether ``sums`` can do it: x [C, H, W, N]."""
    return x.shape[3] % LANES == 0


def call(target: str, shape: tuple[int, ...], *given: jax.Array, **settings: Any) -> jax.Array:
    out = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.ffi.ffi_call(target, out, vmap_method="sequential")(*given, **settings)


def conv_bias(x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int, relu: bool = False) -> jax.Array:
    """``conv`` plus bias [D], and relu if so asked; it has no gradient."""
    _, height, width, batch = x.shape
    shape = (kernel.shape[3], -(-height // stride), -(-width // stride), batch)
    return call("mcal_jax_conv", shape, x, kernel, bias, stride=np.int64(stride), turned=False, relu=relu)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """ "SAME" convolution, stride 1 or 2: x [C, H, W, N], kernel [3, 3, C, D] -> [D, H', W', N], float32."""
    return conv_bias(x, kernel, jnp.zeros(kernel.shape[3], jnp.float32), stride)


def conv_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return conv(x, kernel, stride), (x, kernel)


def conv_backward(stride: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    if stride == 1:
        none = jnp.zeros(len(x), jnp.float32)
        of_x = call("mcal_jax_conv", x.shape, gradient, kernel, none, stride=np.int64(1), turned=True, relu=False)
    else:
        of_x = call("mcal_jax_spread", x.shape, gradient, kernel)
    of_kernel = call("mcal_jax_kernel_gradient", kernel.shape, x, gradient, stride=np.int64(stride))
    return of_x, of_kernel


conv.defvjp(conv_forward, conv_backward)


def sums(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of a and of a * b, both [C, H, W, N], over all axes but the first, each [C]; they have no gradient."""
    plain, product = call("mcal_jax_sums", (2, len(a)), a, b)
    return plain, product
