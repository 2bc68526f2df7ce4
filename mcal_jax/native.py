"""3x3 convolutions for CPUs in C++ (native.cc), built once by the machine's own compiler, if it has one.

XLA's convolution is slow inside a compiled loop, and a matrix product must copy its input nine times over. Without a
compiler, or with MCAL_JAX_NATIVE=0 in the environment, nets use the matrix product.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import warnings
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib

SOURCE = Path(__file__).with_suffix(".cc")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-w")
TARGETS = ("mcal_jax_conv", "mcal_jax_kernel_gradient")
LANES, OUT = 16, 4
"""The batch must be a multiple of the first, the output channels of the second."""


def cache_folder() -> Path:
    """Where compiled programs are kept: mcal_jax in the user's cache folder (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcal_jax"


@cache
def available() -> bool:
    """Whether the convolutions can be used here; builds and loads them at the first call, in a few seconds."""
    if os.environ.get("MCAL_JAX_NATIVE") == "0" or jax.default_backend() != "cpu":
        return False
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return False
    try:
        library = ctypes.CDLL(str(build(compiler)))
        for target in TARGETS:
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
    except (OSError, AttributeError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        told = next((line for line in lines if "error" in line), str(error))
        warnings.warn(f"{compiler} can't build {SOURCE.name}, so training is slower: {told}", stacklevel=2)
        return False
    return True


def build(compiler: str) -> Path:
    """The library, built unless that was done before by the same compiler on the same kind of processor.

    Raises OSError, CalledProcessError or TimeoutExpired.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    known = (SOURCE.read_text(), version, jaxlib.__version__, " ".join(FLAGS), processor())
    path = cache_folder() / f"native-{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        command = [compiler, *FLAGS, f"-I{jax.ffi.include_dir()}", str(SOURCE), "-o", str(temporary)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def processor() -> str:
    """What the code is built for: a cache folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    except OSError:
        return platform.machine() + platform.processor()


def fits(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Whether ``conv`` can do it: x [C, H, W, N], kernel [k, k, C, D]; the gradient swaps C and D."""
    same = kernel.shape[:2] == (3, 3) and stride == 1 and x.dtype == jnp.float32
    outputs = (kernel.shape[3],) if x.shape[0] < OUT else kernel.shape[2:]
    return same and x.shape[3] % LANES == 0 and all(d % OUT == 0 for d in outputs)


def call(target: str, shape: tuple[int, ...], *given: jax.Array) -> jax.Array:
    return jax.ffi.ffi_call(target, jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="sequential")(*given)


@jax.custom_vjp
def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """ "SAME" convolution of stride 1: x [C, H, W, N], kernel [3, 3, C, D] -> [D, H, W, N], float32."""
    return call("mcal_jax_conv", (kernel.shape[3], *x.shape[1:]), x, kernel)


def forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return conv(x, kernel), (x, kernel)


def backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    return conv(gradient, turned), call("mcal_jax_kernel_gradient", kernel.shape, x, gradient)


conv.defvjp(forward, backward)
