"""Ends what a vanished driver leaves behind; runs as a script too, with the standard library only.

Every process below a sandbox carries the sandbox's folder in its environment, also one that started
a session of its own or whose parents are gone. So that is what is looked for.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

__all__ = ['MARK', 'Leftovers', 'kill_marked', 'watch']

MARK = 'SHADHO_SANDBOX'
_ROUNDS = 50


def kill_marked(folder: str) -> None:
    """Kill every process whose sandbox is this folder, or lies in it; does nothing without /proc."""
    for _ in range(_ROUNDS):  # what is killed may just have started another
        killed = [_send(process, signal.SIGKILL) for process in _marked(folder)]
        if not any(killed):
            return


class Leftovers:
    """What a process that was sent SIGTERM with its group has started.

    Processes that have left the group get SIGTERM once none of the group lives: until then, they may be one of those to end.

    Parameters
    ----------
    folder : str
        Of the sandbox.
    group : int
        Number of the process group.
    """

    def __init__(self, folder: str, group: int) -> None:
        self._folder, self._group = folder, group
        self._were_asked = False

    def have_ended(self) -> bool:
        """Whether none lives but the process that asks; always without /proc."""
        processes = _marked(self._folder)
        if processes and not self._were_asked and all(_group(process) != self._group for process in processes):
            self._were_asked = True
            for process in processes:
                _send(process, signal.SIGTERM)
        return not processes


def _marked(folder: str) -> list[int]:
    """Return the other processes whose sandbox is this folder, or lies in it."""
    if not os.path.isdir('/proc/self'):
        return []
    mark = f'{MARK}={folder}'.encode()
    numbers = (int(name) for name in os.listdir('/proc') if name.isdigit())
    return [number for number in numbers if number != os.getpid() and _carries(number, mark)]


def _group(process: int) -> int:
    try:
        return os.getpgid(process)
    except OSError:
        return -1


def _send(process: int, number: int) -> bool:
    try:
        os.kill(process, number)
    except OSError:
        return False
    return True


def _carries(process: int, mark: bytes) -> bool:
    try:
        with open(f'/proc/{process}/environ', 'rb') as file:
            variables = file.read().split(b'\0')
    except OSError:
        return False
    return any(variable == mark or variable.startswith(mark + b'/') for variable in variables)


def watch(folder: str) -> None:
    """Wait until the other end of standard input is closed, or its process is gone; then end all and remove the folder."""
    while os.read(0, 2**10):
        pass
    kill_marked(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    watch(sys.argv[1])
