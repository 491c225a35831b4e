"""Ending processes together with all that they started, also when the driver cannot any more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from shadho.execution.limits import explaining
from shadho_worker import reaper

__all__ = ['Reaper', 'kill_session']


def kill_session(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kill a process, its group, and all else that carries the mark of its sandbox's folder."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass
    process.kill()
    process.wait()
    reaper.kill_marked(str(folder))


class Reaper:
    """A folder for sandboxes, and a helper process that ends them all when the driver vanishes.

    Attributes
    ----------
    folder : Path
        Temporary; the helper removes it at the end.

    Raises
    ------
    BackendError
        When the operating system refuses the folder or the process.
    """

    def __init__(self) -> None:
        with explaining('no folder for temporary files can be made'):
            self.folder = Path(tempfile.mkdtemp(prefix='shadho-'))
        try:
            with explaining('the process that cleans up cannot be started'):
                self._process = subprocess.Popen(
                    [sys.executable, '-I', '-S', reaper.__file__, str(self.folder)],
                    stdin=subprocess.PIPE,
                    start_new_session=True,
                )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def close(self) -> None:
        """End the helper, and with it whatever is left in its folder."""
        self._process.communicate()
