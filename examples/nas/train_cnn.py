"""The objective: build a convolutional network, train it, and see how well it tells images apart.

It needs nothing of SHADHO, and can be tried by hand::

    python train_cnn.py '{"epochs": 3, "conv_layers": [{"out_filters": 16, "kernel_shape": 3, "padding": 1,
        "activation": "relu", "batch_norm": 1e-4}], "dense_layers": [{"out_features": 64, "activation": "relu",
        "batch_norm": 1e-4}]}'
"""

import functools
import time
from pathlib import Path

import data
import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import TerminateOnNan
from ignite.metrics import Accuracy, Average
from torch import nn

ACTIVATIONS = {
    'glu': functools.partial(nn.GLU, dim=1),
    'leaky_relu': nn.LeakyReLU,
    'prelu': nn.PReLU,
    'relu': nn.ReLU,
    'selu': nn.SELU,
    'sigmoid': nn.Sigmoid,
    'tanh': nn.Tanh,
}

BATCH = 64


def device():
    """Return the GPU of the slot that a trial runs in, or the processor where there is none."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


# --- the network ---------------------------------------------------------------------------------


def build(params, shape):
    """Return the untrained network that some hyperparameters stand for.

    Parameters
    ----------
    params : dict
        'conv_layers' and 'dense_layers', each a list of layers.
    shape : tuple
        Channels, height and width of an image; one that is as high as it is wide.
    """
    channels, size, _ = shape
    layers = []
    for number, layer in enumerate(params['conv_layers'], start=1):
        width = layer['out_filters']
        layers += [
            nn.Conv2d(channels, outputs(layer, width), layer['kernel_shape'], padding=layer['padding']),
            ACTIVATIONS[layer['activation']](),
            nn.BatchNorm2d(width, eps=layer['batch_norm']),
        ]
        channels = width
        if number % 2 == 0:
            layers.append(nn.MaxPool2d(2))
            size //= 2
    layers.append(nn.Flatten())
    features = channels * size * size
    for layer in params['dense_layers']:
        width = layer['out_features']
        layers += [
            nn.Linear(features, outputs(layer, width)),
            ACTIVATIONS[layer['activation']](),
            nn.BatchNorm1d(width, eps=layer['batch_norm']),
        ]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


def outputs(layer, width):
    """Return what a layer puts out before its activation: twice its width where a gated unit halves it."""
    return 2 * width if layer['activation'] == 'glu' else width


# --- its training --------------------------------------------------------------------------------


class Batches:
    """Images and classes in batches, in another order in each epoch; they lie where the network does.

    Parameters
    ----------
    images, classes : array
    augment : bool
        Shift the images by up to four pixels, and mirror half of them.
    shuffle : bool
    """

    def __init__(self, images, classes, *, augment=False, shuffle=False):
        self.images = torch.as_tensor(images).to(device())
        self.classes = torch.as_tensor(classes).long().to(device())
        self.augment = augment
        self.shuffle = shuffle

    def __len__(self):
        return -(-len(self.classes) // BATCH)

    def __iter__(self):
        count = len(self.classes)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for own in order.to(device()).split(BATCH):
            images = self.images[own].float() / 127.5 - 1
            yield (shift_and_mirror(images) if self.augment else images), self.classes[own]


def shift_and_mirror(images):
    """Move a batch by a few pixels, the same for all of its images, and mirror every other one."""
    down, right = torch.randint(-4, 5, (2,)).tolist()
    padded = nn.functional.pad(images, (4, 4, 4, 4), mode='reflect')
    height, width = images.shape[2:]
    moved = padded[:, :, 4 + down : 4 + down + height, 4 + right : 4 + right + width].contiguous()
    moved[::2] = moved[::2].flip(3)
    return moved


def train(network, batches, epochs):
    """Train a network; return the mean loss of each epoch. It ends early when a loss is not finite."""
    network.to(device())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    trainer = create_supervised_trainer(network, optimizer, nn.CrossEntropyLoss(), device())
    Average().attach(trainer, 'loss')
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    losses = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: losses.append(trainer.state.metrics['loss']))
    trainer.run(batches, max_epochs=epochs)
    return losses


def accuracy(network, batches):
    """Return the share of images, from 0 to 1, whose class a network tells."""
    evaluator = create_supervised_evaluator(network, {'accuracy': Accuracy()}, device())
    return evaluator.run(batches).metrics['accuracy']


def main(params, cifar=None):
    torch.manual_seed(0)
    parts = data.parts(cifar)
    images, classes = parts['train']
    network = build(params, images.shape[1:])
    begun = time.perf_counter()
    losses = train(network, Batches(images, classes, augment=cifar is not None, shuffle=True), params['epochs'])
    train_time = time.perf_counter() - begun

    reached = accuracy(network, Batches(*parts['validation']))
    return {
        'loss': 1 - reached,
        'accuracy': reached,
        'training_losses': losses,
        'weights': sum(own.numel() for own in network.parameters()),
        'train_time': train_time,
        'device': device().type,
    }


if __name__ == '__main__':
    import shadho_worker

    sent_along = Path(data.CIFAR_FOLDER)
    shadho_worker.run(functools.partial(main, cifar=sent_along if sent_along.is_dir() else None))
