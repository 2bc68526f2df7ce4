"""What flows between the algorithm and the world: requests, answers, configuration, outcome."""


class McalError(Exception):
    """A mistake in what the user gave, told in one line that names the culprit (command line: exit code 2)."""
