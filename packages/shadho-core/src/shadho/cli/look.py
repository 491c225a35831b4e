"""Commands that look at a recorded search: ``status``, ``best``, ``trials``, ``plan``."""

from __future__ import annotations

from typing import Any

import click

from shadho.cli.common import as_json, echo_json, print_table, reporting_errors, storage

__all__ = ['best', 'plan', 'status', 'trials']


@click.command('status')
@storage
@as_json
def status(storage: str, as_json: bool) -> None:
    """Say what a search does now, or has done.

    STORAGE is the file of a search that is running, or has run, such as svm.db: which trials and
    workers there are, how many slots are busy, and the best loss so far.
    """
    from shadho.report.recorded import open_recorded
    from shadho.report.status import look_at

    with reporting_errors():
        found = look_at(open_recorded(storage))
    if as_json:
        echo_json(found.to_dict())
    else:
        click.echo(found.to_table())


@click.command('best')
@storage
@click.option(
    '--recommended', is_flag=True, help='The trial whose expected loss is least instead: where losses are noisy.'
)
@as_json
def best(storage: str, recommended: bool, as_json: bool) -> None:
    """Show the best trial of a search: its loss, its parameters, and where it ran.

    STORAGE is the file of a search that is running, or has run, such as svm.db. Ends with status 1 when no trial is done.
    """
    from shadho.report.recorded import look_up
    from shadho.report.trials import describe_trial, trial_facts
    from shadho.words import printable

    with reporting_errors():
        result = look_up(storage)
        found = result.recommended if recommended else result.best
        if found is None:
            raise click.ClickException(f'no trial of {printable(result.exp_key)} is done yet')
        if as_json:
            echo_json(trial_facts(result, found))
        else:
            click.echo(describe_trial(result, found))


@click.command('trials')
@storage
@click.argument('numbers', nargs=-1, type=click.IntRange(0), metavar='[TRIAL]...')
@click.option('--state', type=click.Choice(['done', 'failed', 'stopped', 'paused']), help='Only trials in this state.')
@click.option('--tree', metavar='TEXT', help="Only trials whose tree's name holds this text.")
@click.option('--compute-class', metavar='NAME', help='Only trials that ran in this compute class.')
@click.option('--better-than', type=float, metavar='LOSS', help='Only trials with a better loss.')
@click.option(
    '--sort', type=click.Choice(['trial', 'loss', 'seconds', 'started', 'finished', 'tree']), default='finished',
    show_default=True, help='loss: the best first; finished: the order of completion.',
)  # fmt: skip
@click.option('--reverse', is_flag=True, help='The other way round.')
@click.option('--limit', type=click.IntRange(0), default=50, show_default=True, help='At most so many; 0: all.')
@as_json
def trials(storage: str, numbers: tuple[int, ...], limit: int, as_json: bool, **wanted: Any) -> None:
    """List finished trials, or show some of them in full.

    STORAGE is the file of a search that is running, or has run, such as svm.db. With numbers of trials,
    these are shown with all parameters, results, what they printed, and why they failed.
    """
    from shadho.report.recorded import look_up
    from shadho.report.trials import Selection, describe_trial, find_trial, select, trial_facts

    with reporting_errors():
        result = look_up(storage)
        if numbers:
            found = [find_trial(result, number) for number in numbers]
            total = len(found)
        else:
            found, total = select(result, Selection(limit=limit or None, **wanted))
        if as_json:
            echo_json([trial_facts(result, trial) for trial in found])
        elif numbers:
            click.echo('\n\n'.join(describe_trial(result, trial) for trial in found))
        else:
            _print_trials(result, found)
            if total > len(found):
                click.echo(f'... {total - len(found):,} more; see --limit', err=True)


def _print_trials(result: Any, found: list[Any]) -> None:
    from shadho.result import format_outcome
    from shadho.words import format_params

    titles = ['trial', result.loss_name, 'seconds', 'compute class', 'tree', 'parameters']
    rows = []
    for trial in found:
        error = trial.error
        params = ', '.join(f'{name}={value}' for name, value in format_params(trial.params))
        rows.append([
            str(trial.id),
            format_outcome(trial),
            f'{trial.seconds:.3g}' if trial.seconds is not None else '',
            trial.compute_class,
            result.forest.tree(trial.tree).label,
            params if error is None else f'{error.kind}: {error.message.partition(chr(10))[0]}; {params}',
        ])  # fmt: skip
    print_table(titles, rows, left={3, 4, 5})


@click.command('plan')
@storage
@click.argument('cluster')
@click.option('--fairness', type=click.FloatRange(0, 1), help="The market's option; see the reference.")
@as_json
def plan(storage: str, cluster: str, fairness: float | None, as_json: bool) -> None:
    """Say what a search would do on a CLUSTER, such as 16-core=20,8-core=25.

    STORAGE is the file of a search that has run, or is running, such as svm.db. Its trials say how
    long each tree takes in each compute class; from that follow the trials per hour, and what one
    more slot of each class would bring. The market's options are the default ones, unless given here.
    """
    from shadho.report.plan import parse_cluster, plan_cluster
    from shadho.report.recorded import open_recorded

    with reporting_errors():
        options = {} if fairness is None else {'fairness': fairness}
        forecast = plan_cluster(open_recorded(storage), parse_cluster(cluster), **options)
    if as_json:
        echo_json(forecast.to_dict())
    else:
        click.echo(forecast.to_table())
