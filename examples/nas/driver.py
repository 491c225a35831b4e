"""How many layers, and which, suit a convolutional network that tells images apart?

    python driver.py                  # searches on MNIST for two minutes; run again, it goes on
    python driver.py --timeout 30     # for 30 seconds; or --max-tasks 50, until there are 50 trials
    python driver.py --cifar cifar-10-batches-bin   # on CIFAR-10, from that folder, in the ranges of the slides
    python driver.py --gpu-classes    # on workers with GPUs, in a compute class for each model; started elsewhere:
                                      #     python3 -m shadho.workers.workqueue -M cnn

It needs ``pip install torch pytorch-ignite mlxtend matplotlib`` (workers need the first two only). Where there are GPUs,
each trial has one of its own. It leaves ``cnn.db`` (every trial), ``cnn.png`` (a picture of the search) and ``mnist.npz`` (the
digits) in the working folder; on CIFAR-10 they are called ``cnn-cifar``, and so is the search.
"""

import argparse
import functools
from pathlib import Path

import data
import numpy as np
import torch
import train_cnn

from shadho import Shadho, spaces
from shadho.report import plot_history

HERE = Path(__file__).parent

GPU_CLASSES = {
    'h100': ('NVIDIA H100 80GB HBM3', 8),
    'a100': ('NVIDIA A100-SXM4-40GB', 16),
    'v100': ('Tesla V100-SXM2-16GB', 16),
}
"""Compute classes: the model of GPU, as ``nvidia-smi -L`` names it, and the most of them that are expected."""


def networks(out_filters, kernel_shape, out_features, epochs):
    """Return a space of networks of 1 to 6 convolutional layers and 1 to 3 dense ones: 18 trees."""
    activations = list(train_cnn.ACTIVATIONS)
    batch_norm = spaces.log10_uniform(-4, 4)  # what is added to the variance of a batch

    conv_layer = spaces.scope(
        out_filters=out_filters, kernel_shape=kernel_shape, activation=activations, batch_norm=batch_norm
    )
    # "same": an image keeps its size.
    conv_layer.padding = spaces.dependent(conv_layer.kernel_shape, callback=lambda x: int(x // 2))
    dense_layer = spaces.scope(out_features=out_features, activation=activations, batch_norm=batch_norm)
    return spaces.scope(
        conv_layers=spaces.repeat(conv_layer, 6), dense_layers=spaces.repeat(dense_layer, 3), epochs=epochs
    )


def small_networks(epochs):
    """Return those that a processor trains on 2,000 digits within seconds."""
    return networks(spaces.log2_randint(2, 5), spaces.randint(1, 6, step=2), spaces.log2_randint(4, 8), epochs)


def slides_networks(epochs):
    """Return those of the tutorial's slides, for GPUs."""
    return networks(spaces.log2_randint(4, 10), spaces.randint(1, 10, step=2), spaces.log2_randint(7, 13), epochs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--timeout', type=float, default=120, help='seconds to search')
    parser.add_argument('--max-tasks', type=int, help='trials of all runs together')
    parser.add_argument('--seed', type=int, help='fixes which networks are tried')
    parser.add_argument('--epochs', type=int, help='of each trial: 3 by default, and 10 on CIFAR-10')
    parser.add_argument('--cifar', metavar='FOLDER', type=Path, help='search on CIFAR-10, whose files are there')
    parser.add_argument('--gpu-classes', action='store_true', help='evaluate on workers, in classes by model of GPU')
    arguments = parser.parse_args()

    if arguments.cifar is None:
        name, space = 'cnn', small_networks(arguments.epochs or 3)
        images = data.keep_mnist()
    else:
        name, space = 'cnn-cifar', slides_networks(arguments.epochs or 10)
        images = arguments.cifar = arguments.cifar.resolve()
        data.parts(images)  # says at once if a file is missing
    opt = Shadho(
        name,
        'bash evaluate.sh' if arguments.gpu_classes else functools.partial(train_cnn.main, cifar=arguments.cifar),
        space,
        timeout=arguments.timeout,
        max_tasks=arguments.max_tasks,
        seed=arguments.seed,
        backend='workqueue' if arguments.gpu_classes else 'auto',
        resources={'gpus': 1} if torch.cuda.is_available() and not arguments.gpu_classes else None,
    )
    if arguments.gpu_classes:
        add_files(opt, images)
        for label, (model, count) in GPU_CLASSES.items():
            opt.add_compute_class(label, 'gpu_model', model, max_tasks=count)
    result = opt.run()

    if result.best is not None:
        print_best(result, arguments.cifar)
    plot_history(result).figure.savefig(f'{name}.png', dpi=150)
    print(f'{name}.png shows the search, and {name}.db holds it: run this again to go on with it')


def add_files(opt, images):
    """Send along what a trial needs; each worker keeps it from trial to trial."""
    for file in ('evaluate.sh', 'train_cnn.py', 'data.py'):
        opt.add_input_file(HERE / file)
    opt.add_input_file(images)


def print_best(result, cifar):
    """Train the best network once more, on all images that the search has seen, and test it on the others."""
    params = result.best.params
    print()
    for layer in params['conv_layers']:
        size = layer['kernel_shape']
        print(f'convolution  {layer["out_filters"]:>4} filters of {size} x {size}, {layer["activation"]}')
    for layer in params['dense_layers']:
        print(f'dense        {layer["out_features"]:>4} features, {layer["activation"]}')

    parts = data.parts(cifar)
    images, classes = (np.concatenate(both) for both in zip(parts['train'], parts['validation']))
    torch.manual_seed(0)
    network = train_cnn.build(params, images.shape[1:])
    batches = train_cnn.Batches(images, classes, augment=cifar is not None, shuffle=True)
    train_cnn.train(network, batches, params['epochs'])
    images, classes = parts['held out']
    right = train_cnn.accuracy(network, train_cnn.Batches(images, classes))
    print(
        f'\nThe best network, trained on {len(batches.classes):,} images, tells {right:.1%} of {len(classes):,} '
        'held-out images.'
    )


if __name__ == '__main__':
    main()
