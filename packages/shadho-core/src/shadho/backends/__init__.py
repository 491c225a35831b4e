"""Backends: where trials run."""

from shadho.backends.base import Backend, Job

__all__ = ['Backend', 'Job']
