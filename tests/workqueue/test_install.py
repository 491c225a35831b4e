"""The command that finds the engine, or installs it: with the real one, and with package managers that only say so."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
import tarfile

import pytest
from click.testing import CliRunner

from shadho_workqueue import installation
from shadho_workqueue.driver import engine
from shadho_workqueue.install import install
from shadho_workqueue.installation import Bindings, find_bindings, find_program

PROGRAMS = ('work_queue_worker', 'work_queue_factory', 'work_queue_status')


@pytest.fixture(autouse=True)
def fresh():
    """Leave nothing of what these tests pretend in the caches."""
    yield
    installation.forget()


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(install, list(map(str, arguments)))


@pytest.fixture
def write(tmp_path):
    """Write a program into the only folder of the path."""
    folder = tmp_path / 'bin'
    folder.mkdir()

    def write(name, text):
        path = folder / name
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def real():
    """Return the real engine's worker, its version, and a Python."""
    worker = find_program('work_queue_worker')
    said = subprocess.run([worker, '--version'], capture_output=True, text=True, check=True).stdout
    return worker, said, find_bindings().python


@pytest.fixture
def machine(tmp_path, write, monkeypatch):
    """Make this a machine that has nothing yet; return a script that puts the real engine on its path."""
    programs = {name: find_program(name) for name in PROGRAMS} | {'python3': find_bindings().python}
    assert None not in programs.values()
    monkeypatch.setattr(installation, 'PREFIXES', ())
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'none'))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'nowhere'))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    for name in ('CONDA_PREFIX', 'CONDA_EXE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('os.geteuid', lambda: 1000)
    lines = [f'echo "$0 $*" >> {tmp_path}/log']
    for name, path in programs.items():
        text = shlex.quote(f'#!/bin/sh\nexec {path} "$@"\n')
        lines += [f'/usr/bin/printf %s {text} > {tmp_path}/bin/{name}', f'/bin/chmod 755 {tmp_path}/bin/{name}']
    return '\n'.join(lines)


@pytest.fixture
def log(tmp_path):
    """Return what package managers were told, by their names."""
    return lambda: [line.rpartition('/bin/')[2] for line in (tmp_path / 'log').read_text().splitlines()]


def test_what_there_is_is_told_and_seen_to_work(run):
    told = run('--check')
    assert told.exit_code == 0, told.output
    bindings = find_bindings()
    for text in (bindings.python, bindings.module, bindings.path, *map(find_program, PROGRAMS)):
        assert text in told.output
    assert 'Work Queue is ready: a manager and a worker here ran a task together' in told.output
    assert '\n$ ' not in told.output


def test_where_the_engine_works_nothing_is_installed(run):
    assert run().output.splitlines()[0].startswith('bindings')


def test_it_is_a_module_too_as_in_the_slides():
    command = [sys.executable, '-m', 'shadho.install.workqueue', '--check']
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, 'Work Queue is ready' in done.stdout) == (0, True), done.stderr


def test_the_bindings_tell_their_release_as_programs_do():
    assert installation.release_of(find_bindings()) == installation.version_of(find_program('work_queue_worker'))


def test_check_says_what_is_missing_and_installs_nothing(run, machine, write, log, tmp_path):
    write('apt-get', machine)
    told = run('--check')
    assert told.exit_code == 1
    assert 'missing: the Python bindings of the manager, work_queue_worker' in told.output
    assert 'work_queue_factory' in told.output
    assert not (tmp_path / 'log').exists()


def test_in_a_conda_environment_conda_installs_it(run, machine, write, log, monkeypatch, tmp_path):
    monkeypatch.setenv('CONDA_PREFIX', str(tmp_path / 'environment'))
    monkeypatch.setattr('os.geteuid', lambda: 0)
    write('conda', machine)
    write('apt-get', machine)
    told = run()
    assert told.exit_code == 0, told.output
    assert log() == ['conda install -y -c conda-forge ndcctools']
    assert f'$ {tmp_path}/bin/conda install -y -c conda-forge ndcctools\n' in told.output
    assert 'Work Queue is ready' in told.output


def test_mamba_will_do_too(run, machine, write, log, monkeypatch, tmp_path):
    monkeypatch.setenv('CONDA_PREFIX', str(tmp_path / 'environment'))
    write('mamba', machine)
    assert run().exit_code == 0
    assert log() == ['mamba install -y -c conda-forge ndcctools']


def test_the_administrator_of_debian_gets_both_of_its_packages(run, machine, write, log, monkeypatch):
    monkeypatch.setattr('os.geteuid', lambda: 0)
    write('apt-get', machine)
    told = run()
    assert told.exit_code == 0, told.output
    assert log() == ['apt-get update', 'apt-get install -y python3-workqueue coop-computing-tools']
    assert '$ apt-get install -y python3-workqueue coop-computing-tools\n' in told.output
    assert 'Work Queue is ready' in told.output


def test_others_are_told_every_way(run, machine, write, tmp_path):
    write('apt-get', machine)
    told = run()
    assert told.exit_code == 1
    for way in (
        'conda install -y -c conda-forge ndcctools',
        'apt-get install -y python3-workqueue',
        '--source cctools-',
    ):
        assert way in told.output
    assert not (tmp_path / 'log').exists()


def test_a_package_manager_that_fails_ends_the_command_with_the_other_ways(run, machine, write, monkeypatch):
    monkeypatch.setattr('os.geteuid', lambda: 0)
    write('apt-get', 'exit 100')
    told = run()
    assert told.exit_code == 1
    assert 'apt-get ended with exit status 100' in told.output
    assert 'conda install -y -c conda-forge ndcctools' in told.output


def test_packages_that_do_not_bring_it_are_no_success(run, machine, write, monkeypatch):
    monkeypatch.setattr('os.geteuid', lambda: 0)
    write('apt-get', 'exit 0')
    told = run()
    assert told.exit_code == 1
    assert 'missing: the Python bindings' in told.output


def test_a_manager_and_a_worker_of_different_releases_are_refused(run, machine, write, monkeypatch):
    monkeypatch.setattr('os.geteuid', lambda: 0)
    worker = 'echo "work_queue_worker version 7.17.1 FINAL (released 2026-01-01)"'
    text = shlex.quote(f'#!/bin/sh\n{worker}\n')
    folder = write('apt-get', '').parent
    write('apt-get', f'{machine}\n/usr/bin/printf %s {text} > {folder}/work_queue_worker')
    told = run()
    assert told.exit_code == 1
    assert 'the worker of release 7.17.1 FINAL; releases that speak different protocols never run' in told.output


def test_a_worker_of_another_protocol_is_noticed_whatever_release_it_says(run, real, machine, write, monkeypatch):
    """It connects, as workers do, and speaks of protocol 999."""
    _, says, python = real
    script = f"""
import hashlib, socket, sys
if '--version' in sys.argv:
    sys.exit(print({says!r}))
password = open(sys.argv[sys.argv.index('-P') + 1]).read()
file = socket.create_connection(('127.0.0.1', int(sys.argv[2]))).makefile('rwb')
def say(text):
    file.write(text.encode() + bytes([10])); file.flush()
prove = lambda challenge: hashlib.sha1(password.encode() + b' ' + challenge).hexdigest()
say('auth password sha1'); file.readline()
say('0' * 64); say(prove(file.readline().strip())); file.readline()
say('ok'); file.readline()
say('workqueue 999 host Linux x86_64 9.9.9')
file.readline()
"""
    monkeypatch.setattr('os.geteuid', lambda: 0)
    folder = write('apt-get', '').parent
    text = shlex.quote(f'#!/bin/sh\nexec {python} -c {shlex.quote(script)} "$@"\n')
    write('apt-get', f'{machine}\n/usr/bin/printf %s {text} > {folder}/work_queue_worker')
    told = run()
    assert told.exit_code == 1
    assert 'the worker speaks protocol 999 of Work Queue, and the manager ' in told.output


def test_a_worker_that_never_connects_is_no_success(run, monkeypatch, write):
    real = find_program('work_queue_worker')
    dead = write('work_queue_worker', f'if [ "$1" = --version ]; then exec {real} --version; fi; exit 1')
    monkeypatch.setattr('shadho_workqueue.install.find_program', lambda name: str(dead))
    monkeypatch.setattr('shadho_workqueue.install.ROUND_TRIP', 2.0)
    told = run('--check')
    assert told.exit_code == 1
    assert 'did not run a task together: the worker did not connect' in told.output


def test_bindings_that_cannot_make_a_manager_are_told_of(run, monkeypatch, tmp_path):
    monkeypatch.setattr(engine, 'find_bindings', lambda: Bindings(sys.executable, 'work_queue', 'nowhere'))
    told = run('--check')
    assert told.exit_code == 1
    assert 'the Work Queue manager could not start' in told.output


@pytest.fixture
def tarball(tmp_path):
    """Return a source release whose parts only say what they were told."""
    path = tmp_path / 'cctools-9.9.9-source.tar.gz'
    script = f'#!/bin/sh\necho "configure $*" > {tmp_path}/log\n'
    with tarfile.open(path, 'w:gz') as tar:
        info = tarfile.TarInfo('cctools-9.9.9-source/configure')
        info.size, info.mode = len(script), 0o755
        tar.addfile(info, io.BytesIO(script.encode()))
    return path


@pytest.fixture
def compilers(write, monkeypatch, tmp_path):
    for tool in ('gcc', 'g++', 'swig'):
        write(tool, '')
    write('tar', 'PATH=/usr/bin:/bin exec tar "$@"')
    include = tmp_path / 'include'
    include.mkdir()
    (include / 'Python.h').touch()
    monkeypatch.setattr('sysconfig.get_path', lambda name: str(include))


def test_a_source_release_is_built_without_what_is_not_needed(run, machine, write, compilers, tarball, log, tmp_path):
    write('make', machine)
    told = run('--source', tarball, '--prefix', tmp_path / 'engine')
    assert told.exit_code == 0, told.output
    configure, *makes = log()
    assert configure.startswith(f'configure --prefix {tmp_path}/engine --without-system-makeflow ')
    assert [make.split()[1] for make in makes] == ['-j', 'install']
    assert f'export PATH="{tmp_path}/engine/bin' in told.output
    assert f'export PYTHONPATH="{tmp_path}/engine/lib/python' in told.output
    assert 'Work Queue is ready' in told.output


def test_a_build_says_which_tools_it_lacks(run, machine, write, compilers, tarball, tmp_path):
    (tmp_path / 'bin/swig').unlink()
    told = run('--source', tarball)
    assert told.exit_code == 1
    assert 'a build needs make, swig, not found here. swig: pip install swig' in told.output


def test_check_takes_no_source(run, tarball):
    told = run('--check', '--source', tarball)
    assert (told.exit_code, '--check installs nothing' in told.output) == (2, True)


def test_nothing_is_looked_for_when_the_package_is_imported():
    code = (
        'import sys, json, subprocess; subprocess.Popen = None; import shadho_workqueue.install; print(json.dumps(1))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert json.loads(done.stdout) == 1
