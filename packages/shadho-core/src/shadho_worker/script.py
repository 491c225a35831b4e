"""What a script of a command does: read the parameters, run the objective, write the result."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from shadho_worker.as_json import read_json, write_json
from shadho_worker.handle import takes_trial
from shadho_worker.outcomes import failure, outcome
from shadho_worker.reports import LOSS_KEY_VARIABLE, is_reporter, trial

__all__ = ['LOSS_KEY_VARIABLE', 'PARAMETERS_FILE', 'RESULT_FILE', 'run']

PARAMETERS_FILE = 'hyperparameters.json'
RESULT_FILE = 'result.json'


def run(objective: Callable[..., Any]) -> None:
    """Evaluate `objective` once with the parameters of this trial and write ``result.json``.

    Parameters
    ----------
    objective : callable
        Takes the parameters (shaped like the search space; sequences arrive as lists, as in all
        JSON) and returns a loss, or a dict that holds it under ``'loss'``. One with a second parameter gets the handle of the
        trial (see `trial`), and need not return anything if it reports.

    Notes
    -----
    With a JSON object as the script's first argument, the parameters come from there and the
    result is printed; otherwise they come from ``hyperparameters.json`` in the working folder, and
    the script's arguments are its own.
    Ends the process with exit status 1 when the trial failed. Of several processes with a ``RANK``, the first writes the result.
    """
    by_hand = len(sys.argv) > 1 and (sys.argv[1].lstrip().startswith('{') or not os.path.exists(PARAMETERS_FILE))
    params = _arguments() if by_hand else _load(PARAMETERS_FILE)
    loss_key = os.environ.get(LOSS_KEY_VARIABLE, 'loss')
    try:
        if takes_trial(objective):
            result = trial().outcome(objective(params, trial()), loss_key)
        else:
            result = outcome(objective(params), loss_key)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        result = failure(error)
    has_failed = result['state'] == 'failed'
    if not by_hand:
        if is_reporter():
            part = f'{RESULT_FILE}.{os.getpid()}.part'
            with open(part, 'w', encoding='utf-8') as file:
                file.write(write_json(result))
            os.replace(part, RESULT_FILE)
    elif not has_failed:
        print(json.dumps(result['results']))
    if has_failed:
        print(result['error']['traceback'], file=sys.stderr)
        sys.exit(1)


def _arguments() -> Any:
    try:
        return read_json(sys.argv[1])
    except ValueError as error:
        sys.exit(
            f'{sys.argv[0]}: the first argument must be the parameters as JSON, such as '
            f'\'{{"x": 1.0}}\'; got {sys.argv[1]!r} ({error})'
        )


def _load(path: str) -> Any:
    try:
        with open(path, encoding='utf-8') as file:
            return read_json(file.read())
    except FileNotFoundError:
        sys.exit(
            f'{sys.argv[0]}: no {path} in {os.getcwd()}. SHADHO writes it for every trial; to try '
            f'the script by hand, give the parameters as JSON: '
            f'python {sys.argv[0]} \'{{"x": 1.0}}\''
        )
