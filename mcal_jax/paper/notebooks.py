"""Notebooks copied, and executed with parameters by papermill and ipykernel, which only this module imports."""

import ast
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mcal_jax.errors import McalError, NoRuns
from mcal_jax.files import absolute, write_bytes_atomically
from mcal_jax.runs.settings import clone, home

START_TIMEOUT = 300  # seconds in which a kernel must start; a machine that trains at the same time is slow


def check() -> None:
    """Raises McalError if notebooks can't be executed because a package is missing."""
    _papermill()


def parameters(path: Path) -> list[str]:
    """The names of a notebook's parameters. Raises McalError as ``check``, or if it can't be read."""
    papermill = _papermill()
    try:
        return list(papermill.inspect_notebook(_read(path)))
    except (ValueError, papermill.exceptions.PapermillException) as error:
        raise McalError(f"{path} is not a notebook ({' '.join(str(error).split())})") from None


def defaults(path: Path) -> dict[str, Any]:
    """The default of each parameter of a notebook, as text where it is no plain value. Raises McalError as
    ``parameters``."""
    papermill = _papermill()
    parameters(path)
    values = {}
    for name, one in papermill.inspect_notebook(_read(path)).items():
        try:
            values[name] = ast.literal_eval(one["default"])
        except (ValueError, SyntaxError):
            values[name] = one["default"]
    return values


def printed(path: Path) -> list[str]:
    """The lines that an executed notebook printed to standard output, in order."""
    cells = [cell for cell in _read(path).cells if cell.cell_type == "code"]
    texts = [out.text for cell in cells for out in cell.outputs if out.output_type == "stream" and out.name == "stdout"]
    return [line for line in "".join(texts).splitlines() if line.strip()]


def copy(folder: Path) -> list[Path]:
    """The paths of copies of all notebooks in ``folder``, which is made if need be.

    Raises McalError, before anything is written, where one of them is there already, and if nothing can be written.
    """
    target = absolute(folder)
    copies = {path: target / path.name for path in sorted((home() / "notebooks").glob("*.ipynb"))}
    for path in copies.values():
        if os.path.lexists(path):
            raise McalError(f"{folder}: {path.name} is there already and would be lost; name another folder")
    for source, path in copies.items():
        write_bytes_atomically(path, source.read_bytes())
    return list(copies.values())


def execute(path: Path, target: Path, given: dict[str, Any], folder: Path) -> None:
    """Executes a notebook with parameters in ``folder`` and writes it with its outputs to ``target``.

    The kernel is the Python of this process, whatever kernels are installed. Raises McalError with the error of the
    notebook in one line, and NoRuns where it raised that.
    """
    papermill = _papermill()
    import nbclient
    import nbformat

    try:
        executed = papermill.execute_notebook(
            _read(path),
            None,  # papermill takes a path as a pattern, in which braces are parameters
            given,
            progress_bar=False,
            kernel_name="python3",
            kernel_manager_class=_own_kernel(),
            cwd=str(folder),
            start_timeout=START_TIMEOUT,
            # Hides the kernel's warnings about its port and its end; errors of the notebook are raised here.
            extra_arguments=["--IPKernelApp.log_level=50"],
            stdout_file=sys.stdout,  # the progress that the notebook prints
        )
    except papermill.PapermillExecutionError as error:
        known = {kind.__name__: kind for kind in (McalError, NoRuns)}
        message = error.evalue if error.ename in known else f"{error.ename}: {error.evalue}"
        raise known.get(error.ename, McalError)(" ".join(message.split())) from None
    except nbclient.exceptions.DeadKernelError:
        raise McalError("its kernel was ended, as the system does when memory runs out") from None
    except RuntimeError as error:  # the kernel did not start
        raise McalError(f"no kernel: {' '.join(str(error).split())}") from None
    nbformat.write(executed, target)


def _papermill() -> ModuleType:
    missing = [name for name in ("papermill", "ipykernel") if importlib.util.find_spec(name) is None]
    try:
        if not missing:
            import papermill

            return papermill
    except ImportError as error:
        missing = [error.name or str(error)]
    raise McalError(
        f"notebooks can't be executed without {' and '.join(missing)}; install: pip install 'mcal-jax[notebooks]'"
    )


def _read(path: Path) -> Any:
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
    except OSError as error:
        raise McalError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, nbformat.ValidationError) as error:
        raise McalError(f"{path} is not a notebook ({' '.join(str(error).split())[:100]})") from None
    return notebook


def _own_kernel() -> type:
    """A kernel manager that knows one kernel, this Python with this package: an installed kernel "python3" may be
    another Python, with another mcal_jax."""
    from ipykernel.kernelspec import make_ipkernel_cmd
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class OwnKernels(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            paths = [str(clone() or ""), os.environ.get("PYTHONPATH", "")]
            env = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
            return KernelSpec(argv=make_ipkernel_cmd(), language="python", display_name="Python 3", env=env)

    class OwnKernel(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _own_kernels(self) -> KernelSpecManager:
            return OwnKernels()

    return OwnKernel
