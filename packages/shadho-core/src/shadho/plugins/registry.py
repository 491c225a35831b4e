"""The registry: finds plugins, guards the search against broken ones, and looks names up."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import pluggy

from shadho.errors import ConfigurationError, PluginError, nearest
from shadho.plugins import hookspecs
from shadho.plugins.packages import BACKENDS, install_command
from shadho.records import Trial

__all__ = ['KINDS', 'Plugin', 'Registry', 'installed', 'load']

log = logging.getLogger('shadho.plugins')

GROUP = 'shadho'
KINDS = {
    'backend': 'shadho_register_backends',
    'sampler': 'shadho_register_samplers',
    'policy': 'shadho_register_policies',
    'heuristic': 'shadho_register_heuristics',
    'fidelity': 'shadho_register_fidelities',
    'storage': 'shadho_register_storages',
}
"""What can be registered, and by which hook."""

_OURS = 'shadho.plugins.builtin'


@attrs.frozen
class Plugin:
    """One plugin, and what it brings.

    Attributes
    ----------
    name : str
    distribution, version : str
        Of the installed distribution that brings it; empty for an object given by the user.
    classes : mapping of str to sequence of class
        What it registers, by kind.
    hooks : mapping of str to sequence of callable
        Its implementations of the other hooks, by name; each takes the hook's values by name.
    broken : str
        Why it could not be loaded; empty when it was.
    """

    name: str
    distribution: str = ''
    version: str = ''
    classes: Mapping[str, Sequence[type[Any]]] = attrs.field(factory=dict)
    hooks: Mapping[str, Sequence[Callable[..., Any]]] = attrs.field(factory=dict)
    broken: str = ''

    @property
    def owner(self) -> str:
        """Name it for people: by its distribution where there is one."""
        return self.distribution or self.name

    @property
    def registers(self) -> dict[str, list[str]]:
        """Names of what it registers, by kind."""
        return {kind: [cls.name for cls in classes] for kind, classes in self.classes.items() if classes}

    def with_hooks_of(self, module: Any) -> Plugin:
        """Return this plugin with what the hooks of a module or object are and register.

        Raises
        ------
        PluginValidationError
            When a hook does not exist, or does not have such an argument.
        TypeError
            When there is no hook, or something is registered that is no class with a name.
        """
        manager = pluggy.PluginManager('shadho')
        manager.add_hookspecs(hookspecs)
        manager.register(module, name=self.owner)
        manager.check_pending()
        if not manager.get_hookcallers(module):
            raise TypeError('it has no hooks; are they functions or methods of a known name, marked with @hookimpl?')
        classes = {}
        for kind, hook in KINDS.items():
            classes[kind] = [cls for registered in getattr(manager.hook, hook)() for cls in registered]
            for cls in classes[kind]:
                if not isinstance(cls, type) or not isinstance(getattr(cls, 'name', None), str):
                    raise TypeError(f'{cls!r} is no {kind}: a class with a string attribute "name" is needed')
                if not isinstance(_aliases(cls), tuple) or not all(isinstance(alias, str) for alias in _aliases(cls)):
                    raise TypeError(f'the aliases of {cls!r} must be a tuple of strings; got {_aliases(cls)!r}')
        hooks = {
            hook: [_by_name(implementation) for implementation in caller.get_hookimpls()]
            for hook, caller in vars(manager.hook).items()
            if hook not in KINDS.values()
        }
        return attrs.evolve(self, classes=classes, hooks=hooks)


def _aliases(cls: type[Any]) -> tuple[str, ...]:
    aliases: tuple[str, ...] = getattr(cls, 'aliases', ())
    return aliases


def _by_name(implementation: pluggy.HookImpl) -> Callable[..., Any]:
    """Return a function that takes all values of a hook, of which an implementation may want only some."""
    function, names = implementation.function, implementation.argnames
    return lambda **values: function(*[values[name] for name in names])


def installed(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> list[Plugin]:
    """Load installed plugins, each under its own guard; our own come first.

    Parameters
    ----------
    entry_points : iterable of EntryPoint, optional
        By default those of the group ``shadho``.
    """
    points = set(importlib.metadata.entry_points(group=GROUP) if entry_points is None else entry_points)
    return [_load(point) for point in sorted(points, key=lambda point: (point.value != _OURS, point.name, point.value))]


def _load(point: importlib.metadata.EntryPoint) -> Plugin:
    dist = point.dist
    plugin = Plugin(point.name) if dist is None else Plugin(point.name, dist.name, dist.version)
    try:
        return plugin.with_hooks_of(point.load())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may even call sys.exit when it is imported
        reason = _reason(error)
        log.warning('the plugin %s of %s is broken, and left out: %s', point.name, plugin.owner, reason)
        return attrs.evolve(plugin, broken=reason)


def _reason(error: BaseException) -> str:
    return f'{type(error).__name__}: {error}'


def _no_plugin(given: type | str | bytes) -> str:
    if isinstance(given, type):
        return f'the plugin {given.__name__} is a class; did you mean plugins=[{given.__name__}()]?'
    return (
        f'the plugin {given!r} is a name, but a module or an object with hooks is needed; import it, and pass the '
        'module itself. Installed plugins are found without being named'
    )


class Registry:
    """Plugins, and what they register by kind and name.

    Parameters
    ----------
    plugins : iterable of Plugin

    Attributes
    ----------
    plugins : tuple of Plugin

    Raises
    ------
    PluginError
        When a name or an alias is claimed twice; the message names both owners.
    """

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins = tuple(plugins)
        self._classes: dict[str, dict[str, type[Any]]] = {kind: {} for kind in KINDS}
        self._named: dict[tuple[str, str], tuple[type[Any], str]] = {}  # also by alias; with the owner
        self._hooks: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        for plugin in self.plugins:
            for kind, classes in plugin.classes.items():
                for cls in classes:
                    self._claim(kind, cls, plugin.owner)
            for hook, functions in plugin.hooks.items():
                self._hooks.setdefault(hook, []).extend((plugin.owner, function) for function in functions)

    def _claim(self, kind: str, cls: type[Any], owner: str) -> None:
        for name in (cls.name, *_aliases(cls)):
            if (kind, name) in self._named:
                _, other = self._named[kind, name]
                raise PluginError(
                    f'the {kind} {name!r} is claimed by {other} and by {owner}; uninstall one of the two, or rename it there'
                )
            self._named[kind, name] = cls, owner
        self._classes[kind][cls.name] = cls

    def extended(self, *extra: Any) -> Registry:
        """Return a registry of the same plugins and some more: modules or objects with hooks.

        Raises
        ------
        PluginError
            When one of them cannot be used, or claims a name that is taken.
        """
        more = []
        for module in extra:
            if isinstance(module, (type, str, bytes)):
                raise PluginError(_no_plugin(module))
            plugin = Plugin(getattr(module, '__name__', type(module).__name__))
            try:
                more.append(plugin.with_hooks_of(module))
            except Exception as error:
                raise PluginError(f'the plugin {plugin.name} cannot be used: {_reason(error)}') from error
        return Registry((*self.plugins, *more)) if more else self

    def classes(self, kind: str) -> Mapping[str, type[Any]]:
        """Return what is registered of one kind, by name; aliases are left out."""
        return self._classes[kind]

    def get(self, kind: str, name: str, argument: str | None = None) -> type[Any]:
        """Return the class of that kind and name, which may be an alias.

        Raises
        ------
        ConfigurationError
            When there is none; says what is known, what is nearest, and what is broken.
        """
        if (kind, name) in self._named:
            return self._named[kind, name][0]
        broken = [f'; the plugin {plugin.owner} is broken: {plugin.broken}' for plugin in self.plugins if plugin.broken]
        if kind == 'backend' and name in BACKENDS:
            hint = f'it is a package of its own: {install_command(BACKENDS[name])}'
        else:
            hint = nearest(name, [own for group, own in self._named if group == kind])
        raise ConfigurationError(f'{argument or kind}={name!r}: no such {kind}; {hint}{"".join(broken)}')

    def notify(self, hook: str, **values: Any) -> list[Any]:
        """Call a hook of every plugin; what one raises is logged, and the others still run.

        Each gets trials of its own: one may change what is in them.

        Returns
        -------
        list
            What the implementations returned, without None.
        """
        answers = []
        for owner, function in self._hooks.get(hook, ()):
            try:
                answer = function(**{name: _own(value) for name, value in values.items()})
            except (Exception, SystemExit):
                log.exception('%s of the plugin %s failed', hook, owner)
                continue
            if answer is not None:
                answers.append(answer)
        return answers


def _own(value: Any) -> Any:
    return value.copied() if isinstance(value, Trial) else value


@lru_cache(maxsize=1)
def load() -> Registry:
    """Return the registry of the installed plugins, which is looked for once in a process."""
    return Registry(installed())
