"""A space as a picture, on a terminal and in a notebook."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from shadho import Forest, spaces
from shadho.cli import cli
from shadho.spaces.picture import picture

C = spaces.uniform(0, 1)
SPACE = {
    'kind': {
        'exclusive': True,
        'linear': {'C': C},
        'net': {'layers': spaces.repeat({'width': C, 'act': ['a', 'b']}, 3)},
    },
    'dropout': {'optional': True, 'rate': C},
    'pair': (C, 3),
    'sizes': spaces.repeat(C, 2, split=False),
    'either': {'exclusive': True, 'optional': True, 'p': C, 'q': C},
}


def test_each_part_has_a_line_below_what_it_is_part_of() -> None:
    assert picture(SPACE).splitlines() == [
        'all of',
        '├─ kind: one of 2',
        '│  ├─ linear',
        '│  │  └─ C: uniform(0.0, 1.0)',
        '│  └─ net',
        '│     └─ layers: a list of 1 to 3',
        '│        ├─ width: uniform(0.0, 1.0)',
        "│        └─ act: choice(['a', 'b'])",
        '├─ dropout: may be absent',
        '│  └─ rate: uniform(0.0, 1.0)',
        '├─ pair: a tuple of 2',
        '│  ├─ uniform(0.0, 1.0)',
        '│  └─ 3',
        '├─ sizes: a list of 2, each uniform(0.0, 1.0)',
        '└─ either: absent, or one of 2',
        '   ├─ p: uniform(0.0, 1.0)',
        '   └─ q: uniform(0.0, 1.0)',
    ]


def test_a_domain_by_itself_is_one_line() -> None:
    assert picture(C) == 'uniform(0.0, 1.0)'


def test_a_notebook_shows_it_with_the_number_of_trees_and_nothing_of_it_is_markup() -> None:
    shown = Forest({'<b>': {'exclusive': True, 'x': C, 'y': C}})._repr_html_()
    assert '&lt;b&gt;: one of 2' in shown
    assert '2 trees' in shown
    assert '<b>' not in shown


def test_the_command_shows_the_space_of_a_file(tmp_path: Path) -> None:
    (tmp_path / 'kept_space.py').write_text(
        "from shadho import spaces\nown = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': 1}\n"
    )
    for arguments, expected in [((), '2 trees, 1 parameter\n'), (('--json',), '"uniform"')]:
        answer = CliRunner().invoke(cli, ['space', 'kept_space.py:own', *arguments])
        assert answer.exit_code == 0, answer.output
        assert expected in answer.output


def test_what_is_no_space_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / 'empty_space.py').write_text('own = {}\n')
    answer = CliRunner().invoke(cli, ['space', 'empty_space.py:own'])
    assert answer.exit_code != 0
    assert 'empty' in answer.output
    assert 'Traceback' not in answer.output
