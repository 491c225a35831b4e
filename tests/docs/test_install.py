"""Commands that install packages work as they are printed: no index has ours, which come from a checkout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted({
    *ROOT.glob('*.md'),
    *(page for page in (ROOT / 'docs').rglob('*.md') if '_build' not in page.parts),
    *(file for folder in ('packages', 'examples', 'benchmarks') for suffix in ('md', 'py') for file in (ROOT / folder).rglob(f'*.{suffix}')),
})  # fmt: skip

_COMMAND = re.compile(r'\bpip install(?P<arguments>(?:[ \t]+(?!#)[^\s`]+|\s*\n[ ]*(?!#)(?=\S*`)[^\s`]+)*)')
_BY_NAME = re.compile(r'(?:^|\s)["\']?shadho-(?:core|local|workqueue|mpi)\b')


def _by_name(text: str) -> list[str]:
    """Return the commands that want packages of ours from an index."""
    commands = [match['arguments'] for match in _COMMAND.finditer(text)]
    return [command for command in commands if '--find-links' not in command and _BY_NAME.search(command)]


def test_no_command_that_is_printed_wants_our_packages_from_an_index() -> None:
    wanted = {str(file.relative_to(ROOT)): _by_name(file.read_text(encoding='utf-8')) for file in FILES}
    assert {file: commands for file, commands in wanted.items() if commands} == {}


@pytest.mark.parametrize(
    'text',
    [
        'pip install shadho-core',
        'needs `pip install "shadho-core[report]"`, or',
        '(`pip install\n  shadho-core[optuna]`): an address',
        'pip install attrs shadho-mpi mpich',
    ],
)
def test_a_command_that_wants_them_from_an_index_is_found(text: str) -> None:
    assert len(_by_name(text)) == 1


@pytest.mark.parametrize(
    'text',
    [
        "pip install './packages/shadho-core[all]' ./packages/shadho-local",
        'Needs ``pip install optuna`` besides shadho-core.',
        'pip install optuna\n\nshadho-core has it too',
        'pip install plotly  # the extra of shadho-core',
        'pip install --no-index --find-links wheels shadho-core shadho-local',
    ],
)
def test_other_commands_are_not(text: str) -> None:
    assert _by_name(text) == []


def test_the_page_names_the_packages_of_every_extra() -> None:
    page = (ROOT / 'docs/how-to/install.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| `(\w+)` \| `pip install ([^`]+)` \|', page, re.MULTILINE)
    project = (ROOT / 'packages/shadho-core/pyproject.toml').read_text(encoding='utf-8')
    table = project.partition('[project.optional-dependencies]\n')[2].partition('\n\n')[0]
    extras = re.findall(r'^(\w+) = (.+)$', table, re.MULTILINE)
    declared = {extra: re.findall(r'"([\w.-]+)', names) for extra, names in extras}
    assert declared.pop('sandbox') == ['shadho-core']  # the earlier name of `gpu`
    for of_ours in ('local', 'workqueue', 'mpi', 'all'):
        del declared[of_ours]
    assert {extra: names.split() for extra, names in rows} == declared
