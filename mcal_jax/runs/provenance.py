"""The commit, the versions and the machine that a result comes from."""

import os
import platform
import subprocess
from importlib import metadata
from typing import Any

from mcal_jax.runs.settings import PACKAGE, home

PACKAGES = ("mcal-jax", "jax", "flax", "optax", "numpy", "scipy", "lmfit")
CODE = ("mcal_jax", "notebooks", "experiments", "pyproject.toml")
"""What the results of a clone depend on; results/ itself may change while it is made."""


def provenance() -> dict[str, Any]:
    """Commit, versions and machine as plain values; no commit where the package is no clone, or git is missing."""
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def device() -> str:
    """What JAX trains on here, and on how many of them if there are several."""
    import jax

    devices = jax.local_devices()
    several = f", {len(devices)} devices" if len(devices) > 1 else ""
    return f"{jax.default_backend()}: {devices[0].device_kind}{several}"


def version(package: str) -> str:
    """The installed version of a package, "unknown" for a copy on PYTHONPATH."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def commit() -> str:
    """The commit of this clone, with "-dirty" where its code has changed since; "" for an installed package, which may
    well lie inside a repository of its user."""
    root = PACKAGE.parent
    if home() != root or not (root / ".git").exists():
        return ""
    name = _git("describe", "--always")
    return f"{name}-dirty" if name and _git("status", "--porcelain", "--", *CODE) else name


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=PACKAGE.parent, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
