"""A room of its own for what is written in C++. The rest of the package meets it by ``operations`` alone."""

from mcal_jax.training.operations import Operations


def operations() -> Operations | None:
    """The operations of nets in C++; None if JAX computes on another device, or if they can't be built here.

    The first call of a process builds them, if no earlier process did, in a few seconds. Where they can't be built,
    one warning says why. MCAL_JAX_NATIVE=0 in the environment switches them off.
    """
    from mcal_jax.training.cpu import compiler, native

    return native.NativeOperations() if compiler.available() else None
