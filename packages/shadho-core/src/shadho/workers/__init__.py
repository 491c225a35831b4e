"""Doors to the workers of backends: ``python -m shadho.workers.NAME`` is ``shadho worker NAME``."""
