"""How workers find their manager without a public catalog: a file in the user's own state directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
from attrs.validators import and_, ge, instance_of, lt

from shadho.errors import BackendError
from shadho_workqueue.reports import fetch

__all__ = ['Rendezvous', 'keep_private', 'rendezvous_file', 'new_password', 'read_password', 'state_folder']


_text = instance_of(str)


def _below(limit: int) -> Any:
    return and_(instance_of(int), ge(0), lt(limit))


@attrs.frozen
class Rendezvous:
    """Where the manager of a search is.

    Attributes
    ----------
    exp_key : str
    host : str
        Name of the driver's machine, as other machines reach it.
    port : int
    password : str
    pid : int
        The driver's process.
    machine : str
        Host name of the driver's machine, as it calls itself.
    ssl : bool
        Whether the manager speaks through SSL.
    version : str
        Of the engine's programs beside the manager; may be empty.
    """

    exp_key: str = attrs.field(validator=_text)
    host: str = attrs.field(validator=_text)
    port: int = attrs.field(validator=_below(2**16))
    password: str = attrs.field(repr=False, validator=_text)
    pid: int = attrs.field(validator=_below(2**31))
    machine: str = attrs.field(factory=socket.gethostname, validator=_text)
    ssl: bool = attrs.field(default=False, validator=instance_of(bool))
    version: str = attrs.field(default='', validator=_text)

    @property
    def is_here(self) -> bool:
        """Whether the driver was started on this machine."""
        return self.machine == socket.gethostname()

    @property
    def address(self) -> str:
        """Host to connect to: the loopback when the driver is on this machine."""
        return '127.0.0.1' if self.is_here else self.host

    @property
    def is_alive(self) -> bool:
        """Whether the driver still runs, as far as can be told from this machine."""
        if not self.is_here:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return self.pid != os.getpid() and self._listens()

    def _listens(self) -> bool:
        """Whether there is anybody at the port: the process of that number may be another one by now."""
        try:
            fetch('127.0.0.1', self.port, self.password, 'queue_status', timeout=1.0)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # busy
        return True

    def write(self) -> None:
        """Leave this for workers to find; only the user may read it."""
        keep_private(rendezvous_file(self.exp_key), json.dumps(attrs.asdict(self)))

    def remove(self) -> None:
        """Take the file away, unless another search has replaced it."""
        if read(self.exp_key) == self:
            rendezvous_file(self.exp_key).unlink(missing_ok=True)


def read(exp_key: str) -> Rendezvous | None:
    """Return where the manager of a search is; None when nobody has said so."""
    path = rendezvous_file(exp_key)
    try:
        return Rendezvous(**json.loads(path.read_text(encoding='utf-8')))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = str(error).partition('\n')[0][:200]
        raise BackendError(f'{path} is damaged ({reason}); remove it and start the driver again') from None


def wait_for(exp_key: str, timeout: float) -> Rendezvous:
    """Return where the manager of a search is, as soon as its driver has started.

    Raises
    ------
    BackendError
        When nobody has said so within `timeout` seconds.
    """
    until = time.monotonic() + timeout
    while True:
        rendezvous = read(exp_key)
        if rendezvous is not None and rendezvous.is_alive:
            return rendezvous
        if time.monotonic() >= until:
            others = sorted(path.stem for path in state_folder().glob('*.json'))
            raise BackendError(
                f'no search {exp_key!r} was found within {timeout:g} s in {state_folder()}. Start its driver; on a '
                'machine that does not share this folder with it, give --host HOST:PORT --password-file FILE. '
                f'Searches found: {", ".join(others) or "none"}'
            )
        time.sleep(0.2)


def state_folder() -> Path:
    """Return the folder of rendezvous: below the user's state directory."""
    base = os.environ.get('XDG_STATE_HOME')
    return (Path(base) if base else Path.home() / '.local' / 'state') / 'shadho' / 'workqueue'


def rendezvous_file(exp_key: str) -> Path:
    """Return where the manager of a search is told of."""
    plain = re.sub(r'[^\w.-]', '_', exp_key)
    mark = '' if plain == exp_key else '-' + hashlib.sha256(exp_key.encode()).hexdigest()[:8]
    return state_folder() / f'{plain}{mark}.json'


def new_password() -> str:
    """Make up a password."""
    return secrets.token_urlsafe(32)


def read_password(path: str | os.PathLike[str]) -> str:
    """Return the password that a file holds, refusing one that is empty.

    Raises
    ------
    BackendError
        When there is none to be read.
    """
    try:
        password = Path(path).expanduser().read_text(encoding='utf-8').strip()
    except (OSError, ValueError) as error:
        raise BackendError(f'the password file {str(path)!r} cannot be read: {error}') from None
    if not password:
        raise BackendError(f'the password file {str(path)!r} is empty')
    return password


def keep_private(path: Path, text: str) -> None:
    """Write a file that only the user may read, all at once."""
    for folder in reversed([path.parent, *path.parent.parents]):
        folder.mkdir(exist_ok=True, mode=0o700)  # each of them, or others might put another in its place
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')  # mode 0600
    try:
        with os.fdopen(handle, 'w', encoding='utf-8') as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
