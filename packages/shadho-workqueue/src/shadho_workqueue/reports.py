"""Asking a manager at its own port for its reports, as its status program asks."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from typing import Any

__all__ = ['ask', 'converse', 'fetch', 'read_report']

_IDENT = 'auth password sha1'
_LONGEST_REPORT = 2**28


def fetch(host: str, port: int, password: str, question: str, timeout: float = 10.0) -> bytes:
    """Return a manager's report as it is; see `ask`."""
    with socket.create_connection((host, port), timeout) as link:
        return converse(link, password, question)


def converse(link: socket.socket, password: str, question: str) -> bytes:
    """Return the answer to a question, on a connection to a manager; see `ask`.

    Raises
    ------
    PermissionError
        When the two do not know the same password.
    OSError
        When what listens there is no manager, or wants no password.
    """
    with link.makefile('rwb') as file:

        def say(text: str) -> None:
            file.write(text.encode() + b'\n')
            file.flush()

        def hear() -> str:
            return file.readline(4096).decode('utf-8', 'replace').rstrip('\n')

        def proof(challenge: str) -> str:
            return hashlib.sha1(f'{password} {challenge}'.encode()).hexdigest()

        say(_IDENT)
        if hear() != _IDENT:
            raise OSError('no manager that wants a password')
        own = secrets.token_hex(32)
        say(own)
        say(proof(hear()))
        if hear() != proof(own):
            say('failure')
            raise PermissionError('the manager does not know the password')
        say('ok')
        if hear() != 'ok':
            raise PermissionError('the manager refused the password')
        say(question)
        return file.read(_LONGEST_REPORT)


def ask(port: int, password: str, question: str = 'worker_status', timeout: float = 10.0) -> Any:
    """Ask a manager on this machine for a report.

    Parameters
    ----------
    port : int
    password : str
        Both sides prove that they know it; it is not sent.
    question : str, default 'worker_status'
    timeout : float, default 10.0
        Seconds.

    Raises
    ------
    OSError
        When the manager does not answer, or does not know the password.
    """
    try:
        return read_report(fetch('127.0.0.1', port, password, question, timeout))
    except (ValueError, RecursionError):
        raise OSError('the manager sent no report') from None


def read_report(text: bytes) -> Any:
    """Read a manager's report: JSON, but for single quotes, which the engine escapes."""
    return json.loads(text.replace(rb'\'', b"'"))
