"""Ends what a vanished driver leaves behind; runs as a script too, with the standard library only.

Every process below a sandbox carries the sandbox's folder in its environment, also one that started
a session of its own or whose parents are gone. So that is what is looked for.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

__all__ = ['MARK', 'kill_marked', 'watch']

MARK = 'SHADHO_SANDBOX'
_ROUNDS = 50


def kill_marked(folder: str) -> None:
    """Kill every process whose sandbox is this folder, or lies in it; does nothing without /proc."""
    mark = f'{MARK}={folder}'.encode()
    if not os.path.isdir('/proc/self'):
        return
    for _ in range(_ROUNDS):  # what is killed may just have started another
        found = False
        for name in os.listdir('/proc'):
            if name.isdigit() and int(name) != os.getpid() and _carries(name, mark):
                try:
                    os.kill(int(name), signal.SIGKILL)
                    found = True
                except OSError:
                    pass
        if not found:
            return


def _carries(process: str, mark: bytes) -> bool:
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
