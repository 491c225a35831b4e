"""Backends: where trials run."""

from shadho.backends.base import Backend, Job
from shadho.backends.simulated import Simulated

__all__ = ['Backend', 'Job', 'Simulated']
