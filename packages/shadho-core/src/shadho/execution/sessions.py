"""Ending processes together with all that they started, also when the driver cannot any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

__all__ = ['Reaper', 'kill_session']


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, its group, and those of its descendants that left the group."""
    import psutil

    try:
        descendants = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        descendants = []
    for kill in (lambda: os.killpg(process.pid, signal.SIGKILL), process.kill, *[child.kill for child in descendants]):
        try:
            kill()
        except (OSError, psutil.Error):
            pass


class Reaper:
    """A helper process that kills the sessions it watches when the driver vanishes."""

    _CODE = """
import os, signal, sys
watched = set()
for line in sys.stdin:
    (watched.add if line[0] == '+' else watched.discard)(int(line[1:]))
for leader in watched:
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError:
        pass
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', self._CODE], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, leader: int) -> None:
        """Kill this process group when the driver vanishes."""
        self._tell(f'+{leader}\n')

    def forget(self, leader: int) -> None:
        """Leave this process group alone: it has ended."""
        self._tell(f'-{leader}\n')

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:
            pass  # somebody killed the helper: searches go on without it

    def close(self) -> None:
        """End the helper, and with it every session that it still watches."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        self._process.wait()
