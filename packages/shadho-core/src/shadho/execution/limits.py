"""Limits of the operating system: raised where that is allowed, else an error that names the place and the remedy."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
import tempfile
from collections.abc import Iterator

from shadho.errors import BackendError

__all__ = ['allow_open_files', 'explaining']

_RESERVE = 64
"""Open files beside those of the slots: storage, sockets, pipes while a process starts, libraries that are still to be loaded."""


def allow_open_files(slots: int, each: int) -> None:
    """Let this process open as many files as its slots need: raise the soft limit, as far as the hard one allows.

    Parameters
    ----------
    slots : int
    each : int
        Files that a slot keeps open.

    Raises
    ------
    BackendError
        When the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    beside = _open_files() + _RESERVE
    needed = slots * each + beside
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard == resource.RLIM_INFINITY or needed <= hard:
        with contextlib.suppress(OSError, ValueError):  # macOS has another limit beside the one that it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            return
    most = soft if hard == resource.RLIM_INFINITY else hard
    raise BackendError(
        f'{slots} slots need {needed} open files, and this process may have {most} (ulimit -n). Use at most '
        f'{max(0, most - beside) // each} slots, or have the hard limit raised (ulimit -Hn; on most systems in '
        '/etc/security/limits.conf)'
    )


def _open_files() -> int:
    try:
        return len(os.listdir('/dev/fd'))
    except OSError:
        return 0


@contextlib.contextmanager
def explaining(failed: str) -> Iterator[None]:
    """Turn an error of the operating system into one that says what to do.

    Parameters
    ----------
    failed : str
        What could not be done, such as ``'no process for trials can be started'``.

    Raises
    ------
    BackendError
    """
    try:
        yield
    except OSError as error:
        raise BackendError(f'{failed}: {_reason(error)}') from error


def _reason(error: OSError) -> str:
    """Say what was refused, where, and what helps."""
    place = error.filename or _temporary_folder()
    if place == sys.executable:
        return f'{error.strerror}: {place}, the Python of this search; was it removed, or replaced?'
    remedies = {
        errno.EMFILE: f'this process may not open more than {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files; use fewer '
        'slots, or raise the limit (ulimit -n)',
        errno.ENFILE: 'the machine has no more open files to give; end other programs, or use fewer slots',
        errno.EAGAIN: 'the user, the container or the job may have no more processes; end others, use fewer slots, or raise '
        'the limit (ulimit -u; pids.max of a container)',
        errno.ENOMEM: 'the machine has no memory for another process; end other programs, or use fewer slots',
        errno.ENOSPC: f'no room is left in {place}; free some, or set TMPDIR to a folder with more',
        errno.EDQUOT: f'the quota of {place} is used up; free some, or set TMPDIR to a folder with more',
        errno.ENOENT: f'{place} does not exist; set TMPDIR to a folder that does',
        errno.ENOTDIR: f'{place} is not in a folder; set TMPDIR to one',
        errno.EACCES: f'{place} cannot be written; set TMPDIR to a folder of yours',
        errno.EPERM: f'{place} cannot be written; set TMPDIR to a folder of yours',
        errno.EROFS: f'{place} is read-only; set TMPDIR to a folder of yours',
    }
    remedy = remedies.get(error.errno or 0)
    return str(error) if remedy is None else f'{error.strerror}: {remedy}'


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return 'the folder for temporary files'
