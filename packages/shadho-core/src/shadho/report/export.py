"""A recorded search, written for other programs: CSV, JSON, Parquet, and studies of Optuna."""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib.util
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from shadho.cluster import Cluster
from shadho.errors import ConfigurationError, ShadhoError
from shadho.forest.tree import show_path
from shadho.records import PARTIAL, Report, Trial, to_plain
from shadho.report.parameters import root_name
from shadho.report.trials import trial_facts
from shadho.result import SearchResult
from shadho.spaces.domains import Continuous, Discrete, Domain, IntegerRange
from shadho.words import flat, text_of
from shadho_worker import jsonable

if TYPE_CHECKING:
    import optuna

__all__ = ['export', 'to_optuna']

_FEW = 100
"""Ordered values up to which Optuna is told of each; more are a range to it."""


def export(
    result: SearchResult, destination: str | os.PathLike[str], *, name: str | None = None, reports: bool = False
) -> None:
    """Write the trials of a search, or what they reported on the way, for other programs.

    Parameters
    ----------
    result : SearchResult
    destination : str or Path
        A file that ends in .csv, .json or .parquet, which is replaced; or the storage of an Optuna study: an address of a
        database, such as ``sqlite:///study.db``, or a journal file that ends in .log. Parquet needs
        ``pip install pyarrow``, Optuna ``pip install optuna``.
    name : str, optional
        Of the Optuna study; by default that of the search.
    reports : bool, default False
        Write a row for each report instead of each trial. Optuna studies hold both in any case.

    Raises
    ------
    ConfigurationError
        When the destination is of no known kind, or what it needs is not installed.
    ShadhoError
        When it cannot be written, or holds a study of that name already.
    """
    text = os.fspath(destination)
    suffix = Path(text).suffix
    if '://' in text or suffix == '.log':
        to_optuna(result, text, name=name)
        return
    writers: dict[str, Callable[[SearchResult, Path, bool], None]] = {
        '.csv': _write_csv, '.json': _write_json, '.parquet': _write_parquet,
    }  # fmt: skip
    if suffix not in writers:
        raise ConfigurationError(
            f'destination={text!r}: give a file that ends in {", ".join(writers)}, or the storage of an Optuna study, such as '
            'sqlite:///study.db or study.log'
        )
    if name is not None:
        raise ConfigurationError(f'name={name!r} is for Optuna studies, and {text!r} is none')
    _replace(Path(text), lambda path: writers[suffix](result, path, reports))


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file in full before it takes the place of another."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}-') as folder:
            whole = Path(folder) / path.name
            write(whole)
            whole.replace(path)
    except OSError as error:
        raise ShadhoError(f'{path} cannot be written: {error.strerror or error}') from error


def _rows(result: SearchResult, reports: bool) -> Iterator[dict[str, Any]]:
    return map(_report_row, _reports(result)) if reports else (result.row(trial) for trial in result)


def _reports(result: SearchResult) -> Iterator[Report]:
    return (report for curve in result.reports().values() for report in curve)


def _report_row(report: Report) -> dict[str, Any]:
    row = {'trial': report.trial, 'attempt': report.attempt, 'step': report.step, 'time': report.time}
    return {**row, **flat('results', report.results)}


def _write_csv(result: SearchResult, path: Path, reports: bool) -> None:
    columns = list(dict.fromkeys(column for row in _rows(result, reports) for column in row))
    with open(path, 'w', newline='', encoding='utf-8', errors='replace') as file:
        _write_rows(file, columns, _rows(result, reports))


def _write_rows(file: TextIO, columns: list[str], rows: Iterator[dict[str, Any]]) -> None:
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows({name: value if value is None else text_of(value) for name, value in row.items()} for row in rows)


def _write_json(result: SearchResult, path: Path, reports: bool) -> None:
    facts = map(to_plain, _reports(result)) if reports else (trial_facts(result, trial) for trial in result)
    with open(path, 'w', encoding='utf-8') as file:
        separator = '[\n'
        for each in facts:
            file.write(separator + json.dumps(each))
            separator = ',\n'
        file.write('\n]\n' if separator.startswith(',') else '[]\n')


def _write_parquet(result: SearchResult, path: Path, reports: bool) -> None:
    _require('pyarrow')
    import pyarrow
    from pyarrow import parquet

    rows = list(_rows(result, reports))
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _arrow_column([row.get(name) for row in rows]) for name in names}
    parquet.write_table(pyarrow.table(columns), path)


def _arrow_column(values: list[Any]) -> Any:
    """Return the values of a column as numbers or flags, if all are such and Arrow can hold them, else as texts."""
    import pyarrow

    kinds = {_kind(value) for value in values if value is not None}
    for kind in (bool, int, float):
        if kinds == {kind} or (kind is float and kinds == {int, float}):
            with contextlib.suppress(pyarrow.ArrowInvalid, OverflowError):
                return pyarrow.array([None if value is None else kind(value) for value in values])
    return pyarrow.array([None if value is None else text_of(value) for value in values], pyarrow.string())


def _kind(value: Any) -> type[Any]:
    """Return of which type of Python a value is; one of NumPy, which type is most like it."""
    if type(value) in (bool, str, int, float):
        return type(value)
    if hasattr(value, 'dtype') and getattr(value, 'shape', None) == ():
        return {'b': bool, 'i': int, 'u': int, 'f': float}.get(getattr(value.dtype, 'kind', ''), str)
    return str


def _require(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(f'{module} is needed for this: pip install {module}')


# --- Optuna ---------------------------------------------------------------------------------------------


def to_optuna(result: SearchResult, storage: Any, *, name: str | None = None) -> optuna.Study:
    """Write the finished trials of a search as a study of Optuna, which its dashboard opens.

    What distinguishes the trees becomes parameters of Optuna, beside those of the trees. Failed trials are failed ones
    there, and stopped and paused ones pruned; results, compute classes and trees are attributes of the trials. The losses of
    reports are intermediate values.

    Parameters
    ----------
    result : SearchResult
    storage : str or optuna.storages.BaseStorage
        Such as ``'sqlite:///study.db'``, or a journal file that ends in .log.
    name : str, optional
        Of the study; by default that of the search.

    Returns
    -------
    optuna.Study

    Raises
    ------
    ShadhoError
        When the storage holds a study of that name already, or cannot be opened.
    """
    _require('optuna')
    import optuna

    study_name = name or result.exp_key
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        direction: Any = result.direction
        study = optuna.create_study(storage=_optuna_storage(storage), study_name=study_name, direction=direction)
        study.set_user_attr('shadho:seed', str(result.seed))
        study.add_trials(list(_optuna_trials(result)))
    except optuna.exceptions.DuplicatedStudyError:
        raise ShadhoError(f'{storage} holds a study {study_name!r} already; give another name') from None
    except Exception as error:  # of whichever database it is
        raise ShadhoError(
            f'the study cannot be written to {storage}: {type(error).__name__}: {str(error).partition(chr(10))[0]}'
        ) from error
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study


def _optuna_storage(storage: Any) -> Any:
    if isinstance(storage, str) and '://' not in storage:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(storage))
    return storage


def _optuna_trials(result: SearchResult) -> Iterator[optuna.trial.FrozenTrial]:
    from optuna.trial import FrozenTrial

    described = [_Described(result, trial) for trial in result]
    choices: dict[str, list[str]] = {}
    for own in described:
        for place, decision in own.decisions.items():
            if decision not in choices.setdefault(place, []):
                choices[place].append(decision)
    distribution_of = cache(_distribution)
    began = _began(result.storage.metadata())
    reports = result.reports()
    for number, own in enumerate(described):
        trial = own.trial
        params, distributions = own.optuna_params(choices, distribution_of)
        yield FrozenTrial(
            number=number,
            trial_id=number,
            state=_optuna_state(trial),
            value=trial.loss,
            values=None,
            datetime_start=began + datetime.timedelta(seconds=trial.started or 0.0),
            datetime_complete=began + datetime.timedelta(seconds=trial.finished or 0.0),
            params=params,
            distributions=distributions,
            user_attrs=own.attributes(),
            system_attrs={},
            intermediate_values={
                report.step: result.goal.sign * result.goal.reported(report.results)
                for report in reports.get(trial.id, ())
            },
        )


def _optuna_state(trial: Trial) -> Any:
    from optuna.trial import TrialState

    if trial.state in PARTIAL:
        return TrialState.PRUNED
    return TrialState.FAIL if trial.loss is None else TrialState.COMPLETE


def _began(metadata: Mapping[str, Any]) -> datetime.datetime:
    """Return the moment from which seconds of the latest run count; earlier runs were sooner than that, by pauses."""
    return datetime.datetime.fromtimestamp(Cluster.of(metadata).start())


class _Described:
    """A trial by its domains: what was chosen, and from what."""

    def __init__(self, result: SearchResult, trial: Trial) -> None:
        self.trial = trial
        tree = result.forest.tree(trial.tree)
        self.label = tree.label
        root = root_name(result.forest)
        self.decisions = {show_path(path) if path else root: decision for path, decision in tree.decisions.items()}
        self.leaves = [
            (show_path(leaf.path) if leaf.path else 'value', leaf.domain, u)
            for leaf, u in zip(tree.leaves, trial.point)
        ]

    def optuna_params(
        self, choices: Mapping[str, list[str]], distribution_of: Callable[[Domain], Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return parameters and their distributions."""
        from optuna.distributions import CategoricalDistribution

        params: dict[str, Any] = dict(self.decisions)
        distributions: dict[str, Any] = {place: CategoricalDistribution(choices[place]) for place in self.decisions}
        for place, domain, u in self.leaves:
            distributions[place] = distribution_of(domain)
            params[place] = _optuna_value(domain.decode(u), distributions[place])
        return params, distributions

    def attributes(self) -> dict[str, Any]:
        """Return what Optuna keeps beside the parameters."""
        trial = self.trial
        facts = {
            'trial': trial.id, 'tree': self.label, 'compute_class': trial.compute_class, 'seconds': trial.seconds,
            'results': jsonable(dict(trial.results)) or None,
            'error': None if trial.error is None else f'{trial.error.kind}: {trial.error.message}',
        }  # fmt: skip
        return {f'shadho:{name}': value for name, value in facts.items() if value is not None}


def _distribution(domain: Domain) -> Any:
    """Return the distribution of Optuna that is most like a domain."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    first, last = (_python_number(domain.decode(u)) for u in (0.0, 1.0))
    if isinstance(domain, Continuous):
        low, high = float(first), float(last)
        return FloatDistribution(low, high, log=getattr(domain, 'base', None) is not None and low > 0)
    assert isinstance(domain, Discrete)
    if domain.kind == 'integer' and domain.size > 1 and max(abs(first), abs(last)) <= sys.float_info.max:
        if _is_even(domain):
            return IntDistribution(first, last, step=_python_number(domain.decode(domain.coordinate(1))) - first)
        if domain.size > _FEW:
            return FloatDistribution(float(first), float(last))
    values = [domain.decode(domain.coordinate(index)) for index in range(domain.size)]
    return CategoricalDistribution(list(dict.fromkeys(map(_plain, values))))


def _is_even(domain: Discrete) -> bool:
    """Whether the values are integers with one step between all of them."""
    if isinstance(domain, IntegerRange):
        return True
    values = [_python_number(value) for value in getattr(domain, 'values', ())]
    if not values or not all(type(value) is int for value in values):
        return False
    step = values[1] - values[0]
    return all(value == values[0] + step * place for place, value in enumerate(values))


def _optuna_value(value: Any, distribution: Any) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(distribution, FloatDistribution):
        return min(max(float(value), distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else _plain(value)


def _python_number(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if hasattr(value, 'dtype') and getattr(value, 'shape', None) == () else value


def _plain(value: Any) -> Any:
    """Return a value that Optuna can keep: others by their texts."""
    value = _python_number(value)
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return text_of(value)
