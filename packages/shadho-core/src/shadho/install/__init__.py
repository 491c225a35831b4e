"""Doors to the installers of engines: ``python -m shadho.install.NAME`` is ``shadho install NAME``."""
