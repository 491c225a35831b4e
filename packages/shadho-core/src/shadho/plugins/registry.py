"""The registry: finds plugins, guards the search against broken ones, and looks names up."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import attrs
import pluggy

from shadho.errors import ConfigurationError, PluginError, nearest
from shadho.plugins import hookspecs

__all__ = ['KINDS', 'PluginInfo', 'Registry', 'load']

log = logging.getLogger('shadho.plugins')

GROUP = 'shadho'
KINDS = {
    'backend': 'shadho_register_backends',
    'sampler': 'shadho_register_samplers',
    'policy': 'shadho_register_policies',
    'heuristic': 'shadho_register_heuristics',
    'storage': 'shadho_register_storages',
}
"""What can be registered, and by which hook."""


@attrs.frozen
class PluginInfo:
    """What is known of one plugin.

    Attributes
    ----------
    name : str
    distribution, version : str
        Of the installed distribution that brings it; empty for an object given by the user.
    registers : mapping of str to tuple of str
        Names by kind.
    broken : str
        Why it could not be loaded; empty when it was.
    """

    name: str
    distribution: str = ''
    version: str = ''
    registers: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    broken: str = ''

    @property
    def owner(self) -> str:
        """Name it for people, by its distribution where there is one."""
        return self.distribution or self.name


class Registry:
    """Plugins that were found, and what they register by kind and name.

    Parameters
    ----------
    extra : iterable of modules or objects
        Plugins besides the installed ones.
    entry_points : iterable of EntryPoint, optional
        Instead of the installed ones of the group ``shadho``.

    Attributes
    ----------
    plugins : list of PluginInfo

    Raises
    ------
    PluginError
        When a name is claimed twice; the message names both owners.
    """

    def __init__(
        self, extra: Iterable[Any] = (), *, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None
    ) -> None:
        self._manager = pluggy.PluginManager('shadho')
        self._manager.add_hookspecs(hookspecs)
        self._classes: dict[str, dict[str, type[Any]]] = {kind: {} for kind in KINDS}
        self._owners: dict[tuple[str, str], str] = {}
        self.plugins: list[PluginInfo] = []
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=GROUP)
        self._entry_points = tuple(entry_points)
        self._extra = tuple(extra)
        # Our own parts come first, so that a clash is reported as the other plugin's.
        for point in sorted(
            set(self._entry_points), key=lambda point: (point.value != 'shadho.plugins.builtin', point.name)
        ):
            self._add_entry_point(point)
        for plugin in self._extra:
            info = PluginInfo(getattr(plugin, '__name__', type(plugin).__name__))
            self.plugins.append(self._register(plugin, info))

    def _add_entry_point(self, point: importlib.metadata.EntryPoint) -> None:
        dist = point.dist
        info = PluginInfo(point.name) if dist is None else PluginInfo(point.name, dist.name, dist.version)
        try:
            info = self._register(point.load(), info)
        except PluginError:
            raise
        except BaseException as error:  # a plugin may even call sys.exit when it is imported
            if isinstance(error, KeyboardInterrupt):
                raise
            reason = f'{type(error).__name__}: {error}'
            log.warning('the plugin %s of %s is broken, and left out: %s', point.name, info.owner, reason)
            info = attrs.evolve(info, broken=reason)
        self.plugins.append(info)

    def _register(self, plugin: Any, info: PluginInfo) -> PluginInfo:
        name = self._manager.register(plugin, name=f'{info.owner}:{info.name}:{id(plugin)}')
        try:
            self._manager.check_pending()
            claims = {kind: self._call(hook, plugin) for kind, hook in KINDS.items()}
            for kind, classes in claims.items():
                for cls in classes:
                    self._claim(kind, cls, info.owner)
        except BaseException:
            self._manager.unregister(plugin, name)
            raise
        registers = {kind: tuple(cls.name for cls in classes) for kind, classes in claims.items() if classes}
        return attrs.evolve(info, registers=registers)

    def _call(self, hook: str, plugin: Any) -> list[type[Any]]:
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        own = [implementation for implementation in implementations if implementation.plugin is plugin]
        return [cls for implementation in own for cls in implementation.function()]

    def _claim(self, kind: str, cls: type[Any], owner: str) -> None:
        name = getattr(cls, 'name', None)
        if not isinstance(cls, type) or not isinstance(name, str):
            raise TypeError(f'{cls!r} is no {kind}: a class with a string attribute "name" is needed')
        names = (name, *getattr(cls, 'aliases', ()))
        for own in names:
            other = self._owners.get((kind, own))
            if other is not None:
                raise PluginError(
                    f'the {kind} {own!r} is claimed by {other} and by {owner}; uninstall one of the two, or rename it there'
                )
        for own in names:
            self._owners[kind, own] = owner
            self._classes[kind][own] = cls

    def extended(self, *extra: Any) -> Registry:
        """Return a registry of the same plugins and some more."""
        return Registry((*self._extra, *extra), entry_points=self._entry_points) if extra else self

    def classes(self, kind: str) -> Mapping[str, type[Any]]:
        """Return what is registered of one kind, by name."""
        return dict(self._classes[kind])

    def get(self, kind: str, name: str, argument: str | None = None) -> type[Any]:
        """Return the class of that kind and name.

        Raises
        ------
        ConfigurationError
            When there is none; says what is known, what is nearest, and what is broken.
        """
        try:
            return self._classes[kind][name]
        except KeyError:
            broken = ''.join(
                f'; the plugin {info.owner} is broken: {info.broken}' for info in self.plugins if info.broken
            )
            hint = _INSTALLABLE.get((kind, name), '')
            raise ConfigurationError(
                f'{argument or kind}={name!r}: no such {kind}; {hint or nearest(name, self._classes[kind])}{broken}'
            ) from None

    def notify(self, hook: str, **values: Any) -> list[Any]:
        """Call an observing hook of every plugin; what one raises is logged, and the others still run.

        Returns
        -------
        list
            What the implementations returned, without None.
        """
        answers = []
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            try:
                answer = implementation.function(*[values[name] for name in implementation.argnames])
            except Exception:
                log.exception('%s of the plugin %s failed', hook, implementation.plugin_name)
                continue
            if answer is not None:
                answers.append(answer)
        return answers


_INSTALLABLE = {
    ('backend', 'local'): 'it is a package of its own: pip install shadho-core[local]',
    ('backend', 'workqueue'): 'it is a package of its own: pip install shadho-core[workqueue]',
    ('backend', 'mpi'): 'it is a package of its own: pip install shadho-core[mpi]',
}


@lru_cache(maxsize=1)
def load() -> Registry:
    """Return the registry of the installed plugins, which is looked for once in a process."""
    return Registry()
