"""``python -m shadho.install.workqueue``: the same as ``shadho install workqueue``."""

from __future__ import annotations

from shadho.cli import main

if __name__ == '__main__':
    main('install', 'workqueue')
