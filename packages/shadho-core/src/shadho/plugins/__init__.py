"""Plugins: how backends, samplers, policies, storages, commands and observers are added."""

from shadho.plugins.hookspecs import hookimpl
from shadho.plugins.registry import Registry, load

__all__ = ['Registry', 'hookimpl', 'load']
