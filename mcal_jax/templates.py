"""Jinja2 templates of the pages that the package writes."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment(package: str, html: bool = True) -> Environment:
    """The templates of a package, in which a name that is not given is an error; escaped for HTML, or as they are."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
