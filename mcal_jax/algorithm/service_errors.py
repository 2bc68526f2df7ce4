"""What the mistakes of several services leave of epsilon to the machine."""

from mcal_jax.algorithm.config import Config
from mcal_jax.algorithm.services import SHARE_OF_RISK
from mcal_jax.errors import McalError


def check(n: int, config: Config) -> None:
    """Raises McalError where the services alone might break epsilon, if humans labelled everything."""
    if config.services is None:
        return
    worst = max(_mistakes(n, size, config) for size in (0, n))  # it is linear in |B|
    if worst >= config.epsilon * n:
        raise McalError(
            f"services: by their errors up to {worst:,.0f} of {n:,} labels would be wrong, and epsilon allows "
            f"fewer than {config.epsilon * n:,.0f}: take several votes, or a better service"
        )


def epsilon_left(n: int, size: int, config: Config) -> float:
    """What is left of epsilon for the machine where ``size`` of ``n`` images are B: the services' mistakes are off.

    At the bound for the machine and that for the services together, fewer than epsilon |X| labels are wrong.
    """
    return config.epsilon - _mistakes(n, size, config) / n


def for_machine(n: int, size: int, config: Config) -> Config:
    """The configuration with which the machine is certified where ``size`` images are B."""
    if config.services is None:
        return config
    return config.model_copy(update={"epsilon": epsilon_left(n, size, config)})


def _mistakes(n: int, size: int, config: Config) -> float:
    assert config.certify
    if config.services is None or not config.services.may_err:
        return 0.0
    return config.services.mistakes(n, size, SHARE_OF_RISK * (1 - config.certify))
