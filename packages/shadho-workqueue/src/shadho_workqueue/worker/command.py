"""The commands that this backend adds to ``shadho``."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import click

from shadho.errors import ShadhoError
from shadho_workqueue.installation import version_of
from shadho_workqueue.pool.jobs import BATCH_SYSTEMS, Pool
from shadho_workqueue.pool.run import run_pool
from shadho_workqueue.reach import Driver
from shadho_workqueue.rendezvous import Rendezvous, read, read_password, wait_for
from shadho_workqueue.worker.main import become_worker, detect, worker_program

__all__ = ['worker']


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ShadhoError as error:
        raise click.ClickException(str(error)) from None


@click.command('workqueue', context_settings={'help_option_names': ['-h', '--help']})
@click.option('-M', '--exp-key', metavar='KEY', help='Name of the search to work for.')
@click.option('--host', metavar='HOST:PORT', help='Where the driver listens, when the name alone does not find it.')
@click.option('--password-file', type=click.Path(), help='Holds the password that the driver was given.')
@click.option(
    '--catalog', metavar='HOST:PORT', help='Find the driver by this catalog server, as the driver was told too.'
)
@click.option('--ssl', is_flag=True, help='Speak through SSL, as newer engines can; found by itself with -M.')
@click.option(
    '--wait', default=900.0, show_default=True, metavar='SECONDS', help='How long to wait for the driver to start.'
)
@click.option('--idle-timeout', type=click.IntRange(1), default=900, show_default=True, metavar='SECONDS',
              help='End after so long without a trial, or without a driver.')  # fmt: skip
@click.option('--cores', type=click.IntRange(1), help='Cores to offer; by default those that this process may use.')
@click.option('--memory', type=click.IntRange(1), metavar='MIB', help='Memory to offer.')
@click.option('--gpus', metavar='N|MODEL,MODEL', help='GPUs to offer, as a number or as models.')
@click.option(
    '--feature', 'features', multiple=True, metavar='NAME=VALUE', help='Something else that compute classes ask for.'
)
@click.option('--name', help='What to call this worker; by default its host name.')
@click.option(
    '--batch', type=click.Choice(BATCH_SYSTEMS), help='Start workers as jobs of a batch system instead of here.'
)
@click.option('--count', type=click.IntRange(1), help='How many, with --batch.')
@click.option('--min', 'least', type=click.IntRange(0), help='With --batch: never fewer.')
@click.option(
    '--max',
    'most',
    type=click.IntRange(1),
    help='With --batch: never more; between them, as many as there is work for.',
)
@click.option('--batch-options', default='', help='For the batch system, such as "--partition=gpu --time=4:00:00".')
def worker(
    exp_key: str | None, host: str | None, password_file: str | None, catalog: str | None, ssl: bool, wait: float,
    idle_timeout: int, cores: int | None, memory: int | None, gpus: str | None, features: tuple[str, ...], name: str | None,
    batch: str | None, count: int | None, least: int | None, most: int | None, batch_options: str,
) -> None:  # fmt: skip
    """Serve trials of a distributed search by Work Queue.

    The driver is found by the name of the search (-M) on its own machine and on those that share the
    home folder with it, also when it starts later; elsewhere by --host and --password-file. One worker
    offers all of its machine: it runs as many trials at once as fit.
    """
    if exp_key is None and host is None:
        raise click.UsageError('give -M KEY, the name of the search, or --host HOST:PORT')
    if catalog is not None and exp_key is None:
        raise click.UsageError('--catalog finds a search by its name: give -M KEY too')
    if batch is None and (count or least is not None or most or batch_options):
        raise click.UsageError('--count, --min, --max and --batch-options are for --batch')
    with _errors():
        program = worker_program()
        password = None if password_file is None else read_password(password_file)
        fixed = ['-t', str(idle_timeout), '-i', '1', '-b', '5']

        def driver_of(rendezvous: Rendezvous) -> Driver:
            address = rendezvous.address if batch in (None, 'local') else rendezvous.host
            options = [*fixed, *(['--ssl'] if ssl or rendezvous.ssl else [])]
            return Driver((address, str(rendezvous.port)), tuple(options), password or rendezvous.password)

        def find() -> Driver | None:
            rendezvous = read(str(exp_key))
            return None if rendezvous is None else driver_of(rendezvous)

        by_name = catalog is None and host is None
        if by_name:
            click.echo(f'looking for the driver of the search {exp_key} ...', err=True)
            rendezvous = wait_for(str(exp_key), wait)
            _compare(rendezvous.version, version_of(program))
            driver = driver_of(rendezvous)
        else:
            address = _split(str(host)) if catalog is None else ('-C', catalog, '-M', str(exp_key))
            if catalog is None and password is None:
                raise click.UsageError('--host needs --password-file too: every search has a password')
            driver = Driver(address, (*fixed, *(['--ssl'] if ssl else [])), password)
        models = _gpus(gpus)
        if batch is not None:
            most = most or count or least or 1
            pool = Pool(batch, least if least is not None else count or 1, most, batch_options, cores, memory, models,
                        _features(features), idle_timeout)  # fmt: skip
            run_pool(pool, find if by_name else lambda: driver)
        hardware = detect(cores, memory, models, _features(features))
        become_worker(driver, hardware, name or socket.gethostname(), find if by_name else None)


def _compare(driver: str, own: str) -> None:
    """Warn of releases that differ, which may speak different protocols."""
    if driver not in ('', own):
        click.echo(
            f"Warning: the driver's machine has Work Queue {driver}, and this one {own}. If they speak different protocols, "
            'this worker gets no trial, and the driver says so; install the same release on both',
            err=True,
        )


def _split(host: str) -> tuple[str, str]:
    name, _, port = host.rpartition(':')
    if not name or not port.isdigit() or not 0 < int(port) < 2**16:
        raise click.UsageError(f'--host must be HOST:PORT, as the driver says; got {host!r}')
    return name, port


def _gpus(given: str | None) -> list[str] | None:
    if given is None:
        return None
    if given.isdigit():
        return ['gpu'] * int(given)
    return [model.strip() for model in given.split(',')]


def _features(given: tuple[str, ...]) -> Mapping[str, Any]:
    """Read NAME=VALUE; numbers are numbers, as compute classes compare them."""
    features = {}
    for feature in given:
        name, _, value = feature.partition('=')
        if not name or not value:
            raise click.UsageError(f'--feature must be NAME=VALUE; got {feature!r}')
        try:
            number = json.loads(value)
        except ValueError:
            number = value
        features[name] = number if isinstance(number, (int, float, bool)) else value
    return features
