"""``python -m shadho.workers.workqueue``: the same as ``shadho worker workqueue``."""

from __future__ import annotations

from shadho.cli import main

if __name__ == '__main__':
    main('worker', 'workqueue')
