"""Every example of the documentation and of the docstrings runs, and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import shadho
import shadho_local
import shadho_mpi
import shadho_worker
import shadho_workqueue

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / 'README.md',
    *sorted((ROOT / 'packages').glob('*/README.md')),
    *(page for page in sorted((ROOT / 'docs').rglob('*.md')) if '_build' not in page.parts),
]


def _has_examples(page: Path) -> bool:
    return any(f'```{language}\n' in page.read_text(encoding='utf-8') for language in ('python', 'console', 'bash'))


@pytest.mark.parametrize('page', [*filter(_has_examples, PAGES)], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run_and_print_what_it_shows(page: Path, run_examples: Callable[[Path], int]) -> None:
    assert run_examples(page) > 0


def _modules() -> Iterator[str]:
    for package in (shadho, shadho_local, shadho_mpi, shadho_worker, shadho_workqueue):
        yield package.__name__
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):
            yield info.name


def _tests_of(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize('name', [name for name in _modules() if _tests_of(name)])
def test_the_examples_in_the_docstrings_of_a_module_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in _tests_of(name):
        runner.run(test)
    assert runner.summarize().failed == 0
