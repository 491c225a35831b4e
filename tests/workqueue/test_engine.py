"""The pipes between the driver and the manager."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from shadho_workqueue.driver import engine

ECHO = """
import json, os
os.write(1, json.dumps({'say': 'ready', 'port': 1, 'ssl': False, 'reports': True}).encode() + b'\\n')
received = b''
while True:
    *lines, received = (received + os.read(0, 65536)).split(b'\\n')
    for line in lines:
        message = json.loads(line)
        if message['do'] == 'close':
            os._exit(0)
        if message['do'] == 'submit':
            os.write(1, line.replace(b'"do": "submit"', b'"say": "workers"') + b'\\n')
"""


def test_no_amount_of_news_keeps_commands_from_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager of this test writes as much as it reads, and both ends' pipes fill up."""
    script = tmp_path / 'echo.py'
    script.write_text(ECHO)
    monkeypatch.setattr(engine, 'manager', SimpleNamespace(__file__=str(script)))
    heard: list[int] = []

    def talk() -> None:
        own = engine.Engine(port=0)
        for number in range(500):
            own.send(do='submit', number=number, text='x' * 2000)
        while len(heard) < 500:
            heard.extend(message['number'] for message in own.wait(10.0))
        assert own.close(shutdown=True)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(60.0)
    assert heard == list(range(500))
