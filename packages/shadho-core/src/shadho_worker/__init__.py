"""What a distributed script imports: read the parameters, run the objective, write the result.

Standard library only, Python 3.9 or newer: the package is sent along with every trial of a command, so that the
machine which runs the command needs no SHADHO installed::

    def objective(params):
        return params['x'] ** 2

    if __name__ == '__main__':
        import shadho_worker
        shadho_worker.run(objective)

An objective with a second parameter gets the handle of its trial, as other code of a script does by `trial()`: it reports step by
step, and ends early when the search says so.

By hand, such a script takes its parameters as JSON: ``python objective.py '{"x": 1.5}'``, prints
the result and writes no file.
"""

from shadho_worker.as_json import jsonable, read_json, write_json
from shadho_worker.outcomes import failed, failure, outcome
from shadho_worker.reports import trial
from shadho_worker.script import LOSS_KEY_VARIABLE, PARAMETERS_FILE, RESULT_FILE, run

__all__ = [
    'LOSS_KEY_VARIABLE', 'PARAMETERS_FILE', 'RESULT_FILE', 'failed', 'failure', 'jsonable', 'outcome', 'read_json', 'run', 'trial',
    'write_json',
]  # fmt: skip
