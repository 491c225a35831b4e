"""The writer lock: a lock file that names its holder, and that is released when its holder dies."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

from shadho.errors import StorageError

__all__ = ['WriterLock', 'unwritable']

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors that mean too little space: a full disk, a quota, a limit on file size."""


def unwritable(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that cannot be written, with its fix."""
    fix = 'give a storage elsewhere'
    if error.errno in _FULL:
        fix = 'all that was recorded before is kept. Free some space, or raise the quota or limit, and run again'
    return StorageError(f'{path} cannot be written: {error.strerror}; {fix}')


class WriterLock:
    """Holds ``PATH.lock`` locked (flock) while a storage is open for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + '.lock')
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; raise StorageError, which names the holder, if it is taken or cannot be created."""
        import fcntl

        while self._file is None:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise unwritable(self.path, error) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = self._holder(file) if self._is_taken(file) else None
                os.close(file)
                if holder is None:  # a process that called holder() had shared the lock for a moment
                    continue
                raise StorageError(
                    f'{self.path.name[:-5]} is in use by {holder}: two searches cannot write to one storage. Wait for that '
                    'one to end, or give this search another exp_key or storage'
                ) from None
            if self._is_current(file):
                self._file = file
                self._sign(file)
            else:  # the last holder removed the file after this process had opened it
                os.close(file)

    def _sign(self, file: int) -> None:
        try:
            os.ftruncate(file, 0)
            os.write(file, json.dumps({'pid': os.getpid(), 'host': socket.gethostname()}).encode())
        except OSError as error:
            self.release()
            raise unwritable(self.path, error) from None

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def holder(self) -> str | None:
        """Return the process that holds the lock, as in 'process 12 on node7'; None if it is free."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:
            return 'another process'
        try:
            return self._holder(file) if self._is_taken(file) else None
        finally:
            os.close(file)

    def _is_taken(self, file: int) -> bool:
        """Whether a writer holds the lock. Checks share the lock, so they do not block each other."""
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _holder(self, file: int) -> str:
        try:
            holder = json.loads(os.pread(file, 1000, 0))
            return f'process {holder["pid"]} on {holder["host"]}'
        except (OSError, ValueError, KeyError, TypeError):
            return 'another process'
