"""Everything that is run on this repository: ``nox -s demo``, ``nox -s tests``, ``nox -l`` for the list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nox
from nox.command import CommandFailed

os.environ['VIRTUALENV_NO_PERIODIC_UPDATE'] = '1'
# Some machines set it; every process that tests start would then compile all that it imports.
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
nox.options.sessions = ['tests', 'lint', 'types', 'docs']
nox.options.error_on_missing_interpreters = True

CORE = './packages/shadho-core'
LOCAL = './packages/shadho-local'
WORKQUEUE = './packages/shadho-workqueue'
MPI = './packages/shadho-mpi'
MPICH = 'mpich>=4.3'
SIDE_BY_SIDE = ('-n', str(2 * (os.cpu_count() or 1)), '--dist', 'loadfile', '--no-loadscope-reorder')
"""Files of tests side by side, each in one process, as its tests share engines; those that do mostly wait for them."""
OF_VERSIONS = (
    *(f'tests/core/{contract}/test_conformance.py' for contract in ('samplers', 'scheduling', 'storage')),
    'tests/local/test_conformance.py',  # cloudpickle
    'tests/workqueue/test_conformance.py::TestWorkQueue::test_a_whole_search_runs_on_it',
    'tests/mpi/test_job.py::test_a_script_may_search_several_times_also_without_the_other_ranks',
    'tests/core/samplers/test_auto.py::TestAuto',  # scipy and cmaes, in gp, tpe and cmaes
    'tests/core/samplers/test_hyperopt.py',
    'tests/core/samplers/test_rf.py::TestRandomForest::test_a_search_can_use_it',
    'tests/core/samplers/test_sequences.py',
    'tests/core/spaces/test_domains.py',  # distributions of scipy.stats
    'tests/core/plugins/test_registry.py',  # pluggy
    'tests/core/driver/test_run.py',
    'tests/core/cli/test_look.py',  # click
    'tests/core/cli/test_export.py',  # pandas, pyarrow, optuna
    'tests/core/test_live.py',  # rich
    'tests/core/test_dashboard.py::test_the_page_and_its_data_are_served_and_trials_that_come_are_told_of',  # starlette, uvicorn
    'tests/core/report/test_figures.py::test_every_picture_can_be_drawn',
    'tests/core/report/test_page.py::test_a_page_has_all_in_one_file_and_refers_to_nothing',  # plotly
    'tests/core/report/test_page.py::test_the_command_writes_pictures',
    'tests/core/sklearn/test_conventions.py',
    'tests/core/sklearn/test_search.py',
    'tests/core/trackers/test_mlflow.py',
    'tests/core/trackers/test_tensorboard.py::test_each_trial_is_a_session_with_its_hyperparameters_and_its_loss',
)
"""One suite for each contract, a search on each engine, and what calls other packages: not what meets our own code only."""
SLOWEST = ('--durations=15', '--durations-min=5')
"""Shows which tests to make faster next; the CPU seconds of files are in tests/conftest.py."""
EXTRAS = (
    'gpu', 'report', 'dashboard', 'mpi', 'hyperopt', 'mlflow', 'optuna', 'parquet', 'tensorboard', 'sklearn',
)  # fmt: skip
GROUPS = nox.project.load_toml('pyproject.toml')['dependency-groups']
THIS_PYTHON = f'{sys.version_info.major}.{sys.version_info.minor}'


def runs(version: str) -> bool:
    """Whether that Python is installed; there may be a program of its name that only says that it is not."""
    program = shutil.which(f'python{version}')
    return program is not None and subprocess.run([program, '-c', ''], capture_output=True, check=False).returncode == 0


OTHER_PYTHONS = [version for version in ('3.10', '3.11', '3.12', '3.13') if version != THIS_PYTHON and runs(version)]


def install(session: nox.Session, *requirements: str, groups: tuple[str, ...] = ()) -> None:
    """Install requirements and groups of pyproject.toml, quietly: by uv, in a third of the CPU time, or else by pip.

    uv does not read pip's configuration: where that names the only index that can be reached, pip installs everything.
    """
    wanted = [requirement for group in groups for requirement in GROUPS[group]]
    with_pip = ('--quiet', '--disable-pip-version-check', '--no-compile')
    if 'nas' in groups:  # a configuration of pip may name smaller builds of torch
        session.install(*with_pip, *(requirement for requirement in GROUPS['nas'] if requirement.startswith('torch=')))
    session.install(*with_pip, 'uv')
    try:
        session.run('uv', 'pip', 'install', '--quiet', *built_again(requirements), *requirements, *wanted)
    except CommandFailed:
        session.warn('uv could not install them; trying pip')
        session.install(*with_pip, *requirements, *wanted)


def built_again(requirements: Sequence[str]) -> list[str]:
    """Return options by which uv builds packages of ours again, each as it is declared: it would take older builds."""
    names = [Path(own.partition('[')[0]).name for own in requirements if own.startswith('./packages/')]
    return ['--no-sources', *(f'--reinstall-package={name}' for name in names)]


def provide_engine(session: nox.Session) -> None:
    """Install CCTools Work Queue where an administrator of Debian or Ubuntu lacks it; fail where it is missing."""
    may = os.geteuid() == 0 and shutil.which('apt-get') is not None
    session.run('python', '-m', 'shadho.install.workqueue', *([] if may else ['--check']))


def provide_slurm(session: nox.Session) -> None:
    """Install Slurm where an administrator of Debian or Ubuntu lacks it; its tests are skipped where it is missing."""
    if shutil.which('slurmctld') or os.geteuid() != 0 or shutil.which('apt-get') is None:
        return
    session.run('apt-get', 'update', '-qq', external=True)
    packages = ('slurmctld', 'slurmd', 'slurm-client', 'munge')
    session.run('apt-get', 'install', '-y', '-qq', '--no-install-recommends', *packages, external=True)


def provide_browser(session: nox.Session) -> None:
    """Install Chromium where an administrator of Debian or Ubuntu lacks it; fail where it is missing."""
    if shutil.which('chromium'):
        return
    if os.geteuid() != 0 or shutil.which('apt-get') is None:
        session.error('the tests of pages need Chromium: apt-get install chromium')
    session.run('apt-get', 'update', '-qq', external=True)
    session.run('apt-get', 'install', '-y', '-qq', '--no-install-recommends', 'chromium', external=True)


def install_for_tests(session: nox.Session, *more: str) -> None:
    """Install what all tests need, the engine, Slurm and the browser too."""
    install(session, f'{CORE}[report,dashboard]', LOCAL, WORKQUEUE, MPI, MPICH, *more, groups=('tests', 'data', 'nas'))
    provide_engine(session)
    provide_browser(session)
    provide_slurm(session)


@nox.session
def demo(session: nox.Session) -> None:
    """Search SVM kernels on real MNIST digits, live and in parallel; leaves svm.db and svm.png."""
    install(session, f'{CORE}[report]', LOCAL, groups=('data',))
    session.chdir('examples/svm')
    # Ctrl-C ends the search, not the script, which still has its results to tell.
    session.run('python', 'driver.py', *session.posargs, interrupt_timeout=60, terminate_timeout=60)
    session.log(f'the search and its picture: {Path("svm.db").resolve()}, {Path("svm.png").resolve()}')


@nox.session(python=[THIS_PYTHON, *OTHER_PYTHONS])
def tests(session: nox.Session) -> None:
    """Run all tests on every Python that is installed."""
    install_for_tests(session)
    session.run('pytest', *(session.posargs or (*SIDE_BY_SIDE, *SLOWEST)))


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches the tests run, in this process and in those that they start."""
    install_for_tests(session, 'coverage>=7.10')
    session.env['COVERAGE_FILE'] = str(Path('.coverage').resolve())  # tests run in folders of their own
    session.run('coverage', 'erase')
    session.run('coverage', 'run', '-m', 'pytest', *(session.posargs or SIDE_BY_SIDE), success_codes=[0, 1])
    session.run('coverage', 'combine', '--quiet')
    session.run('coverage', 'report')


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    install(session, groups=('lint',))
    session.run('ruff', 'check', '.')
    session.run('ruff', 'format', '--check', '.')


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly: ours, and those that users meet."""
    install(session, f'{CORE}[report,dashboard]', LOCAL, WORKQUEUE, MPI, groups=('types', 'tests'))
    session.run('mypy')
    session.run('mypy', 'tests/typing')
    session.run('pyright', '--pythonpath', str(Path(session.bin) / 'python'))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; any warning is an error."""
    install(session, f'{CORE}[report,dashboard]', LOCAL, WORKQUEUE, MPI, groups=('docs',))
    session.run('sphinx-build', '-W', '--keep-going', '-n', '-q', 'docs', 'docs/_build/html')


@nox.session
def pictures(session: nox.Session) -> None:
    """Make the pictures of the README anew, from a search of two minutes."""
    install(session, f'{CORE}[report,sklearn]', LOCAL, 'pillow')
    provide_browser(session)
    session.run('python', 'docs/pictures.py')


@nox.session
def soak(session: nox.Session) -> None:
    """Break everything at random for hours; prints how much was broken, and that nothing was lost."""
    install(session, f'{CORE}[report,dashboard]', LOCAL, WORKQUEUE, MPI, MPICH, groups=('tests', 'data'))
    provide_engine(session)
    session.run('pytest', '--soak', '-rA', 'tests/faults', 'tests/mpi', *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run the examples as their readers would."""
    install(session, f'{CORE}[report,dashboard]', LOCAL, WORKQUEUE, MPI, MPICH, groups=('tests', 'data', 'nas'))
    provide_engine(session)
    session.run('pytest', 'tests/examples', *session.posargs)


@nox.session
def installed(session: nox.Session) -> None:
    """Install core alone, then core and each plugin, and use them: no dependency is undeclared."""
    away = session.create_tmp()
    check = str(Path('tests/installed.py').resolve())
    install(session, CORE)
    with session.chdir(away):
        session.run('python', check, 'inline')
    install(session, LOCAL)
    with session.chdir(away):
        session.run('python', check, 'inline', 'local')
    session.run('pip', 'uninstall', '--yes', '--quiet', 'shadho-local')
    install(session, WORKQUEUE)
    provide_engine(session)
    with session.chdir(away):
        session.run('python', check, 'inline', 'workqueue')
    session.run('pip', 'uninstall', '--yes', '--quiet', 'shadho-workqueue')
    install(session, MPI, MPICH)
    with session.chdir(away):
        session.run('mpirun', '-n', '3', 'python', check, 'mpi')


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and source distributions, check them, and use what the wheels install in an environment of its own."""
    install(session, groups=('build',))
    dist = Path('dist').resolve()
    shutil.rmtree(dist, ignore_errors=True)
    for package in (CORE, LOCAL, WORKQUEUE, MPI):
        session.run('python', '-m', 'build', '--outdir', str(dist), package, silent=True)
    session.run('twine', 'check', '--strict', *map(str, sorted(dist.iterdir())))
    session.run('python', 'tests/built.py', str(dist))

    away = Path(session.create_tmp())
    shutil.rmtree(away / 'clean', ignore_errors=True)
    session.run('python', '-m', 'venv', str(away / 'clean'))
    programs = away.resolve() / 'clean' / 'bin'
    pip = (str(programs / 'pip'), 'install', '--quiet', '--disable-pip-version-check')
    ours = [str(wheel) for wheel in sorted(dist.glob('*.whl'))]
    session.run(*pip, '--no-index', '--no-deps', *ours, external=True)
    session.run(*pip, *ours, external=True)  # what they need
    session.run(*pip, '--dry-run', 'shadho-core[all]', external=True)
    session.run(str(programs / 'pip'), 'check', external=True)
    check = str(Path('tests/installed.py').resolve())
    with session.chdir(away):
        session.run(str(programs / 'shadho'), 'plugins', external=True)
        session.run(str(programs / 'python'), check, 'inline', 'local', external=True)


def resolve(session: nox.Session, resolution: str) -> Path:
    """Return a file of the versions that the packages and their extras get, such as the 'lowest-direct' ones."""
    pins = Path(session.create_tmp()) / f'{resolution}.txt'
    command = ['uv', 'pip', 'compile', '--quiet', '--resolution', resolution, '--python', THIS_PYTHON, '-o', str(pins)]
    packages = ('shadho-core', 'shadho-local', 'shadho-workqueue', 'shadho-mpi')
    sources = [f'packages/{package}/pyproject.toml' for package in packages]
    extras = [part for extra in EXTRAS for part in ('--extra', extra)]
    session.run(*command, *sources, *extras, *[f'--no-emit-package={package}' for package in packages])
    return pins


@nox.session
def audit(session: nox.Session) -> None:
    """Look up the lowest and the newest versions that users may get in the databases of known weaknesses."""
    install(session, 'uv', 'pip-audit>=2.7')
    for resolution in ('lowest-direct', 'highest'):
        session.run('pip-audit', '--strict', '--no-deps', '--disable-pip', '-r', str(resolve(session, resolution)))


@nox.session
def lowest(session: nox.Session) -> None:
    """Run what meets other packages with the lowest versions that ours declare to need."""
    install(session, 'uv')
    pins = resolve(session, 'lowest-direct')
    ours = (CORE, LOCAL, WORKQUEUE, MPI)
    # The oldest hyperopt imports pkg_resources, which setuptools has until release 80.
    constrained = ['-c', str(pins), '-r', str(pins), 'setuptools<81', *ours, *GROUPS['tests']]
    session.run('uv', 'pip', 'install', '--quiet', *built_again(ours), *constrained)
    provide_engine(session)
    # Old releases warn of each other and of newer ones that they were not written for. Hardly any of these tests wait,
    # and each process imports all that they need.
    session.run('pytest', '-W', 'ignore', *SIDE_BY_SIDE, '-n', 'auto', *OF_VERSIONS, *session.posargs)


@nox.session
def openmpi(session: nox.Session) -> None:
    """Run what meets MPI under Open MPI, which may not be in one environment with MPICH."""
    install(session, CORE, LOCAL, MPI, 'openmpi>=5.0', groups=('tests',))
    root = {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
    environment = {'MPIRUN_FLAGS': '--oversubscribe --bind-to none', **(root if os.geteuid() == 0 else {})}
    files = [
        f'tests/mpi/{name}.py'
        for name in ('test_conformance', 'test_faults', 'test_job', 'test_placement', 'survivors')
    ]
    session.run('pytest', *SIDE_BY_SIDE, *files, '-m', 'not mpich', *session.posargs, env=environment)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure what a trial costs and how good a search is, beside peers, and what scheduling gains."""
    install(session, CORE, LOCAL, WORKQUEUE, MPI, MPICH, groups=('benchmarks',))
    provide_engine(session)
    for script in sorted(os.listdir('benchmarks')):
        if script.endswith('.py'):
            session.run('python', f'benchmarks/{script}', *session.posargs)
