"""Humans label: images of one's own in, finished labels out, through a door that the user picks."""

from mcal_jax.labelling.work import work_on

__all__ = ["work_on"]
