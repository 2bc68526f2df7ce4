"""Certifying a classifier of one's own: predictions and scores in, labels with a bound on their error out."""

from mcal_jax.certification.certifying import certify
from mcal_jax.certification.work import certify_table

__all__ = ["certify", "certify_table"]
