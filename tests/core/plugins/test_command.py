"""``shadho plugins``, and the commands that plugins bring."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import shadho as package
from shadho import __version__
from shadho.cli import cli
from shadho.plugins import install_command

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
    assert 'random, grid, sobol' in rows['builtin']
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


SERVING = """
import click
from shadho import hookimpl

def command(group):
    @click.command('workqueue')
    @click.option('-M', '--name')
    @click.argument('rest', nargs=-1)
    def serve(name, rest):
        click.echo(f'{group}: {name} {rest}')
        raise SystemExit(7)

    return serve

@hookimpl
def shadho_register_commands(cli):
    for group in ('worker', 'install'):
        cli.commands[group].add_command(command(group))
"""


@pytest.mark.parametrize(
    ('group', 'door'), [('worker', 'shadho.workers.workqueue'), ('install', 'shadho.install.workqueue')]
)
def test_the_door_of_a_backend_is_the_same_as_its_command(install, shadho, group, door):
    install('shadho-serving', SERVING, module='zz_serving')  # loaded after one that is installed
    arguments = ['-M', 'tutorial', 'a', '--', '-b']
    answer = shadho(group, 'workqueue', *arguments)
    assert (answer.returncode, answer.stdout) == (7, f"{group}: tutorial ('a', '-b')\n")
    through = subprocess.run([sys.executable, '-m', door, *arguments], capture_output=True, text=True)
    assert (through.returncode, through.stdout, through.stderr) == (7, answer.stdout, answer.stderr)
    usage = subprocess.run([sys.executable, '-m', door, '-h'], capture_output=True, text=True).stdout
    assert usage.startswith(f'Usage: shadho {group} workqueue [OPTIONS] [REST]...')


@pytest.mark.parametrize(
    ('group', 'door'), [('worker', 'shadho.workers.workqueue'), ('install', 'shadho.install.workqueue')]
)
def test_the_door_of_a_backend_that_is_not_installed_says_how_to_install_it(group, door):
    code = (
        'import runpy, shadho.plugins.registry as registry\n'
        "registry.GROUP = 'plugins-of-nobody'\n"
        f"runpy.run_module({door!r}, run_name='__main__')"
    )
    answer = subprocess.run([sys.executable, '-c', code, '-M', 'tutorial'], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout, answer.stderr) == (
        1, '', f'Error: shadho {group} workqueue comes with a package that is not installed: {install_command("shadho-workqueue")}\n',
    )  # fmt: skip


def test_the_plugin_that_should_bring_a_command_but_is_broken_is_named(install):
    install('shadho-odd', 'import no_such_module_of_anybody')
    answer = invoke('worker', 'workqueue')
    assert answer.exit_code == 1
    assert 'the plugin shadho-odd is broken: ModuleNotFoundError' in answer.output
    assert len(answer.output.splitlines()) == 1


@pytest.mark.parametrize('group', ['worker', 'install'])
def test_a_group_without_commands_says_what_brings_one(group):
    answer = invoke(group)
    told = f'None is installed; {install_command("shadho-workqueue")} brings one.'
    assert ''.join(told.split()) in ''.join(answer.output.split())  # lines are broken for the terminal
    assert invoke(group, 'no-such-backend').exit_code == 2


def test_the_core_names_no_package_of_a_backend_that_it_looks_for():
    home = Path(package.__file__).parent
    texts = [path.read_text() for folder in ('cli', 'workers', 'install') for path in (home / folder).rglob('*.py')]
    assert texts
    assert not any('shadho_workqueue' in text for text in texts)
