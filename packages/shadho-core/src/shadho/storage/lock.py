"""One writer at a time: a lock file that says who holds it, and that dies with its holder."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

from shadho.errors import StorageError

__all__ = ['WriterLock', 'unwritable']

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def unwritable(path: Path, error: OSError) -> StorageError:
    """Return the error that says why a file cannot be written, and what to do."""
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
        """Take the lock; StorageError names the holder when there is one, or says why there can be none."""
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
                if holder is None:  # somebody only asked, and holds nothing any more
                    continue
                raise StorageError(
                    f'{self.path.name[:-5]} is in use by {holder}: two searches cannot write to one storage. Wait for that '
                    'one to end, or give this search another exp_key or storage'
                ) from None
            if self._is_current(file):
                self._file = file
                self._sign(file)
            else:  # its last holder removed the file between our opening and locking it
                os.close(file)

    def _sign(self, file: int) -> None:
        try:
            os.ftruncate(file, 0)
            os.write(file, json.dumps({'pid': os.getpid(), 'host': socket.gethostname()}).encode())
        except OSError as error:
            self.release()
            raise unwritable(self.path, error) from None

    def release(self) -> None:
        """Give the lock up and remove its file."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def holder(self) -> str | None:
        """Say which process holds the lock, as in 'process 12 on node7'; None when nobody does."""
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
        """Whether a writer holds the lock; those who ask share it for a moment, and do not hinder one another."""
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
