"""Which kernel, and which hyperparameters, suit a support vector machine that reads digits?

    python driver.py                # searches for about a minute; run again, it goes on
    python driver.py --timeout 10   # for 10 seconds; or --max-tasks 50, until there are 50 trials
    python driver.py --command      # each trial as a command of its own, as on a cluster

It needs ``pip install mlxtend scikit-learn matplotlib``, and leaves ``svm.db`` (every trial) and
``svm.png`` (a picture of the search) in the working folder.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import train_svm

from shadho import Shadho, spaces
from shadho.report import plot_history

C = spaces.log10_uniform(-3, 3)
gamma = spaces.log10_uniform(-4, 0)
coef0 = spaces.uniform(0, 1)
degree = [2, 3, 4, 5, 6, 7]

search_space = {
    'exclusive': True,
    'linear': {'C': C},
    'rbf': {'C': C, 'gamma': gamma},
    'sigmoid': {'C': C, 'gamma': gamma, 'coef0': coef0},
    'poly': {'C': C, 'gamma': gamma, 'coef0': coef0, 'degree': degree},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--timeout', type=float, default=65, help='seconds to search')
    parser.add_argument('--max-tasks', type=int, help='trials of all runs together')
    parser.add_argument('--command', action='store_true', help='evaluate by running evaluate.sh')
    arguments = parser.parse_args()

    objective = 'bash evaluate.sh' if arguments.command else train_svm.main
    opt = Shadho(
        'svm',
        objective,
        search_space,
        method='random',
        timeout=arguments.timeout,
        max_tasks=arguments.max_tasks,
    )
    if arguments.command:
        here = Path(__file__).parent
        opt.add_input_file(here / 'evaluate.sh')
        opt.add_input_file(here / 'train_svm.py')
    result = opt.run()

    print_kernels(result)
    if result.best is not None:
        print_best(result)
    plot_history(result, log=True).figure.savefig('svm.png', dpi=150)
    print('svm.png shows the search, and svm.db holds it: run this again to go on with it')


def print_kernels(result):
    """Print how the best trial of each kernel did, the best kernel first."""
    best, count = {}, Counter()
    for trial in result:
        [kernel] = trial.params
        count[kernel] += 1
        if trial.loss is not None and (kernel not in best or trial.loss < best[kernel].loss):
            best[kernel] = trial

    print('\nkernel   trials  accuracy  precision  recall  train time  hyperparameters')
    for kernel, trial in sorted(best.items(), key=lambda item: item[1].loss):
        of = trial.results
        chosen = ', '.join(f'{name}={value:.3g}' for name, value in trial.params[kernel].items())
        print(
            f'{kernel:7}  {count[kernel]:>6}  {of["accuracy"]:>8.1%}  {of["precision"]:>9.1%}  {of["recall"]:>6.1%}'
            f'  {of["train_time"]:>8.2f} s  {chosen}'
        )


def print_best(result):
    """Train the best model once more, on all images that the search has seen, and test it on the others."""
    parts = train_svm.mnist()
    seen_images, seen_digits = (np.concatenate(both) for both in zip(parts['train'], parts['validation']))
    images, digits = parts['held out']
    svc = train_svm.build(result.best.params).fit(seen_images, seen_digits)
    print(
        f'\nThe best model, trained on {len(seen_digits):,} images, reads {svc.score(images, digits):.1%} of '
        f'{len(digits):,} held-out digits.'
    )


if __name__ == '__main__':
    main()
