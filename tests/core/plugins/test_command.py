"""``shadho plugins``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadho import __version__
from shadho.cli import cli

OBSERVER = 'from shadho import hookimpl\n@hookimpl\ndef shadho_trial_finished(trial): pass\n'
SAMPLER = """
from shadho import hookimpl
from shadho.samplers.random import Random

class Other(Random):
    name = 'other'

@hookimpl
def shadho_register_samplers():
    return [Other]
"""
COMMAND = """
import click
from shadho import hookimpl

@hookimpl
def shadho_register_commands(cli):
    cli.add_command(click.Command('greet', callback=lambda: click.echo('hello')))
"""


@pytest.fixture
def shadho(site, tmp_path, monkeypatch):
    """Run the installed command, which finds the same distributions."""

    def run(*arguments):
        monkeypatch.setenv('PYTHONPATH', str(site))
        command = [str(Path(sys.executable).parent / 'shadho'), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    return run


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments)


def test_a_table_lists_each_plugin_with_its_distribution_and_what_it_brings(install):
    install('shadho-other', SAMPLER, version='2.5')
    install('shadho-watching', OBSERVER)
    answer = invoke('plugins')
    rows = {line.split()[0]: line for line in answer.output.splitlines()}
    assert answer.exit_code == 0
    assert rows['PLUGIN'].split() == ['PLUGIN', 'DISTRIBUTION', 'BRINGS']
    assert f'shadho-core {__version__} ' in rows['builtin']
    assert 'sampler: random, grid, sobol' in rows['builtin']
    assert rows['shadho_other'].split() == ['shadho_other', 'shadho-other', '2.5', 'sampler:', 'other']
    assert rows['shadho_watching'].split()[-1] == 'shadho_trial_finished'
    assert len({line.find('shadho-') for line in answer.output.splitlines()[1:]}) == 1


def test_json_tells_the_same(install):
    install('shadho-other', SAMPLER, version='2.5')
    found = {entry['name']: entry for entry in json.loads(invoke('plugins', '--json').output)}
    assert found['builtin']['registers']['backend'] == ['inline']
    assert found['shadho_other'] == {
        'name': 'shadho_other', 'distribution': 'shadho-other', 'version': '2.5', 'registers': {'sampler': ['other']},
        'hooks': [], 'broken': '',
    }  # fmt: skip


@pytest.mark.parametrize('options', [[], ['--json']])
def test_a_broken_plugin_is_listed_with_the_reason(install, options):
    install('shadho-odd', 'import no_such_module_of_anybody')
    answer = invoke('plugins', *options)
    assert answer.exit_code == 0
    assert "ModuleNotFoundError: No module named 'no_such_module_of_anybody'" in answer.output


def test_plugins_that_claim_one_name_are_listed_and_the_clash_reported(install):
    install('shadho-one', SAMPLER)
    install('shadho-two', SAMPLER)
    answer = invoke('plugins')
    assert answer.exit_code == 1
    assert "Error: the sampler 'other' is claimed by shadho-one and by shadho-two" in answer.output
    assert 'shadho_two' in answer.output


def test_the_installed_command_lists_plugins(install, shadho):
    install('shadho-other', SAMPLER)
    install('shadho-odd', 'def f(:')
    answer = shadho('plugins', '--json')
    found = {entry['name']: entry for entry in json.loads(answer.stdout)}
    assert answer.returncode == 0
    assert found['shadho_other']['registers'] == {'sampler': ['other']}
    assert found['shadho_odd']['broken'].startswith('SyntaxError')
    assert found['shadho_odd']['registers'] == {}


def test_the_installed_command_has_the_commands_of_plugins(install, shadho):
    install('shadho-greeting', COMMAND)
    install('shadho-odd', 'import sys; sys.exit(9)')
    answer = shadho('greet')
    assert (answer.returncode, answer.stdout) == (0, 'hello\n')


def test_the_installed_command_works_when_plugins_claim_one_name(install, shadho):
    install('shadho-one', SAMPLER)
    install('shadho-two', SAMPLER)
    answer = shadho('--version')
    assert (answer.returncode, answer.stdout) == (0, f'shadho, version {__version__}\n')
    assert 'Traceback' not in answer.stderr
    assert 'Warning: commands of plugins are left out' in answer.stderr
