"""Backends: where trials run."""

from shadho.backends.base import Answer, Backend, Job
from shadho.backends.simulated import Simulated

__all__ = ['Answer', 'Backend', 'Job', 'Simulated']
