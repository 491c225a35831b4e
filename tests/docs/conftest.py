"""Runs the examples of Markdown pages as a reader would: top to bottom, in a folder of their own.

* A ``python`` block is executed; what it prints is compared with the ``text`` block that follows, if one does.
* A ``python``, ``bash`` or ``toml`` block whose first line is a comment with a path is written to that file instead.
* In a ``console`` block every line after ``$`` is run by the shell; the lines below it are what it prints.
* Other ``bash`` blocks (installation, other machines) are not run, but their syntax is checked.

``...`` in an expected output stands for any text.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from sybil import Document, Example, Sybil
from sybil.parsers.myst import CodeBlockParser

_FILE = re.compile(r'#\s*(?P<path>[\w./-]+\.(?:py|sh|toml))\n')
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_checker = doctest.OutputChecker()


@pytest.fixture
def run_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], int]]:
    """Run all examples of a page in a temporary folder and the caller's environment; returns how many there are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
    monkeypatch.setenv('PATH', os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))

    def run(page: Path) -> int:
        evaluators = {'python': _python, 'text': _text, 'console': _console, 'bash': _bash, 'toml': _file_only}
        parsers = [CodeBlockParser(language, evaluator) for language, evaluator in evaluators.items()]
        document: Document = Sybil(parsers=parsers, path=str(page.parent)).parse(page)
        # Functions of a page travel to other processes by value, as those of a script do.
        document.namespace['__name__'] = '__main__'
        examples = list(document.examples())
        for example in examples:
            example.evaluate()
        return len(examples)

    with mock.patch.dict(os.environ):  # which pages may change
        yield run


def _write_file(example: Example) -> bool:
    """Write the block to the file that its first line names, if it names one."""
    named = _FILE.match(example.parsed)
    if named is None:
        return False
    path = Path(named['path'])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.parsed, encoding='utf-8')
    return True


def _python(example: Example) -> None:
    if _write_file(example):
        return
    code = compile(
        '\n' * (example.line + example.parsed.line_offset) + example.parsed, example.path, 'exec', dont_inherit=True
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, example.namespace)
    example.namespace['__printed__'] = printed.getvalue()


def _text(example: Example) -> str | None:
    return _difference(str(example.parsed), example.namespace.pop('__printed__'))


def _console(example: Example) -> str | None:
    for part in re.split(r'^\$ ', example.parsed, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition('\n')
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=180, executable='/bin/bash')
        if done.returncode:
            return f'$ {command}\nended with exit status {done.returncode}:\n{done.stdout}{done.stderr}'
        difference = _difference(expected, done.stdout) if expected.strip() else None
        if difference is not None:
            return f'$ {command}\n{difference}\n{done.stderr}'
    return None


def _file_only(example: Example) -> None:
    _write_file(example)


def _bash(example: Example) -> str | None:
    if _write_file(example):
        return None
    checked = subprocess.run(['bash', '-n'], input=example.parsed, capture_output=True, text=True)
    return checked.stderr or None


def _difference(expected: str, got: str) -> str | None:
    """Return how two outputs differ, or None."""
    expected, got = expected.strip() + '\n', got.strip() + '\n'
    if _checker.check_output(expected, got, _FLAGS):
        return None
    return _checker.output_difference(doctest.Example('', expected), got, _FLAGS | doctest.REPORT_NDIFF)
