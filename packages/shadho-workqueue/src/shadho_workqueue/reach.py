"""Why a driver cannot be reached: names, addresses, ports and passwords, tried as the engine's worker tries them.

The engine is silent about some of these, slow to mention others, and calls whatever does not answer as a manager
does a wrong password.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import attrs

from shadho_workqueue.rendezvous import keep_private, read_password
from shadho_workqueue.reports import converse, read_report

__all__ = ['Driver', 'Place', 'Watch', 'catalog_address', 'manager_address']

_CONNECT = 5.0
"""Seconds for a connection: a firewall that drops packets is noticed by nothing else."""

_ANSWER = 10.0
"""Seconds for an answer; a busy manager may take some."""

_FIRST_LOOK = 1.0
_PAUSE = 5.0
"""Seconds between attempts to find out; the engine's worker waits as long between its own."""

_CATALOG_PORT = 9097


@attrs.frozen
class Driver:
    """Where workers find their driver.

    Attributes
    ----------
    address : tuple of str
        As the engine's worker takes it: host and port, or options for a catalog.
    options : tuple of str
        Further options of the engine's worker.
    password : str or None
        None when the options name a file that holds it.
    """

    address: tuple[str, ...]
    options: tuple[str, ...]
    password: str | None = attrs.field(default=None, repr=False)

    @property
    def is_direct(self) -> bool:
        return not self.address[0].startswith('-')

    def write(self, path: Path) -> None:
        """Leave this for the jobs of a pool; only the user may read it."""
        keep_private(path, json.dumps(attrs.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Driver:
        known = json.loads(path.read_text(encoding='utf-8'))
        return cls(tuple(known['address']), tuple(known['options']), known['password'])


@attrs.frozen
class Place:
    """Where a worker looks for its manager, and what it knows of it.

    Attributes
    ----------
    host : str
    port : int
    password : str or None
        None when only the connection is to be tried.
    project : str
        With a catalog, whose host and port these are then: the name of the search.
    version : str
        Release of the engine here; may be empty.
    """

    host: str
    port: int
    password: str | None = attrs.field(default=None, repr=False)
    project: str = ''
    version: str = ''

    @classmethod
    def of(cls, driver: Driver, version: str = '') -> Place:
        """Return where a driver is to be looked for."""
        arguments = [*driver.address, *driver.options]
        if not driver.is_direct:
            host, port = catalog_address(arguments[arguments.index('-C') + 1])
            return cls(host, port, project=arguments[arguments.index('-M') + 1])
        password = driver.password
        if password is None and '-P' in arguments:
            password = read_password(arguments[arguments.index('-P') + 1])
        if '--ssl' in arguments:
            password = None  # only the engine can ask
        return cls(driver.address[0], int(driver.address[1]), password, version=version)

    def obstacle(self) -> str:
        """Return what keeps a worker from its manager; empty when nothing does. Takes seconds at most, or DNS's timeout."""
        where = f'{self.host}:{self.port}'
        try:
            socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return f'the host name {self.host!r} cannot be resolved ({reason}): is it misspelt, or unknown on this machine?'
        try:
            link = socket.create_connection((self.host, self.port), _CONNECT)
        except ConnectionRefusedError:
            return f'nobody listens at {where}: the driver has not started or has ended, or the port is another one'
        except TimeoutError:
            return (
                f'{where} does not answer within {_CONNECT:g} s: the machine is off, the address is wrong, or a firewall '
                'drops the connection'
            )
        except OSError as error:
            return f'{where} cannot be reached ({error.strerror or error})'
        with link:
            link.settimeout(_ANSWER)
            return self._in_catalog() if self.project else self._at_manager(link, where)

    def _at_manager(self, link: socket.socket, where: str) -> str:
        if self.password is None:
            return ''
        try:
            report = read_report(converse(link, self.password, 'queue_status'))
            release = report[0].get('version', self.version)
        except PermissionError:
            return (
                f'the driver at {where} has another password: give the file that the driver was given (--password-file), or '
                'none, to find it by the name of the search'
            )
        except TimeoutError:
            return f'{where} is open, but does not answer within {_ANSWER:g} s: the driver hangs, or another program listens there'
        except (OSError, ValueError, RecursionError, LookupError, AttributeError, TypeError):
            return (
                f'{where} does not answer as a driver does: it is starting or ending, or another program listens there'
            )
        if self.version not in ('', release):
            return (
                f'the driver at {where} has Work Queue {release}, and this machine {self.version}: if they speak different '
                'protocols, they never run a trial together; install the same release on both'
            )
        return ''

    def _in_catalog(self) -> str:
        found = manager_address(f'{self.host}:{self.port}', self.project)
        if isinstance(found, str):
            return found
        return Place(*found).obstacle()


def catalog_address(catalog: str) -> tuple[str, int]:
    """Return host and port of a catalog server, from ``host`` or ``host:port``."""
    host, _, port = catalog.partition(':')
    return host, int(port) if port.isdigit() else _CATALOG_PORT


def manager_address(catalog: str, project: str) -> tuple[str, int] | str:
    """Return where the manager of a search is, as a catalog server says; or else, as text, why it does not."""
    import urllib.error  # which takes as long to import as all else here
    import urllib.request

    host, port = catalog_address(catalog)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f'http://{host}:{port}/query.json', timeout=_CONNECT) as answer:
            entries = json.loads(answer.read())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return f'the catalog server at {host}:{port} does not answer ({reason})'
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and str(entry.get('type')).startswith('wq_') and entry.get('project') == project:
            return str(entry.get('address', entry.get('name', ''))), int(entry.get('port', 0))
    return f'the catalog server at {host}:{port} knows no search {project!r}: its driver has not started, or has another catalog'


class Watch:
    """Says what keeps a worker from its manager, as soon as that is known, and again when it is something else.

    Parameters
    ----------
    place : Place
    say : callable
        Called with text, in a thread of its own.
    patience : str, default ''
        What happens meanwhile, to be added.

    Attributes
    ----------
    connected : bool
        As `note` was told.
    reached : bool
        Whether the last attempt found nothing in the way; with a connection, there is no further one then.
    """

    def __init__(self, place: Place, say: Callable[[str], None], patience: str = '') -> None:
        self.place = place
        self.connected = False
        self.reached = False
        self._say = say
        self._patience = patience
        self._ended = threading.Event()
        threading.Thread(target=self._run, daemon=True, name='shadho-workqueue-watch').start()

    @property
    def is_settled(self) -> bool:
        """Whether the worker is connected, and that to its manager: the engine takes any program that listens for one."""
        return self.connected and self.reached

    def note(self, connected: bool) -> None:
        """Take in that the worker has a connection, or has none."""
        self.connected, self.reached = connected, False

    def _run(self) -> None:
        told, pause = '', _FIRST_LOOK
        while not self._ended.wait(pause):
            pause = _PAUSE
            if self.is_settled:
                told = ''
                continue
            found = self.place.obstacle()
            if self._ended.is_set():
                return
            if found and found != told:
                self._say(found + self._patience)
            told, self.reached = found, not found

    def close(self) -> None:
        """Say nothing any more."""
        self._ended.set()
