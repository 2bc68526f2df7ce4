"""The errors that a user sees, in one line each."""


class McalError(Exception):
    """A mistake in what the user gave, told in one line that names the culprit (command line: exit code 2)."""


class NoRuns(McalError):
    """None of the runs that a figure or table needs is there."""
