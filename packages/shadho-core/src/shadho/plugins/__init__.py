"""Plugins: how backends, samplers, policies, storages, commands and observers are added."""

from shadho.plugins.hookspecs import hookimpl
from shadho.plugins.packages import install_command
from shadho.plugins.registry import Plugin, Registry, installed, load

__all__ = ['Plugin', 'Registry', 'hookimpl', 'install_command', 'installed', 'load']
