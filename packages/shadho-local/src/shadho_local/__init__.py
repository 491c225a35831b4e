"""SHADHO's backend for one machine: trials in parallel, each slot in a process of its own."""

from __future__ import annotations

from shadho import hookimpl
from shadho.backends import Backend
from shadho_local.backend import Local

__all__ = ['Local']


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    return [Local]
