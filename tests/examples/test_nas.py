"""The fourth example of the tutorial's slides: a search for the architecture of a convolutional network."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import shadho

ONE_THREAD = {**os.environ, 'OMP_NUM_THREADS': '1'}
"""Threads of PyTorch wait for each other where other processes need the cores."""

MODULES = ('data', 'train_cnn', 'driver')
SMALL = {
    'conv_layers': [
        {'out_filters': 8, 'kernel_shape': 3, 'padding': 1, 'activation': 'relu', 'batch_norm': 1e-4},
        {'out_filters': 8, 'kernel_shape': 3, 'padding': 1, 'activation': 'relu', 'batch_norm': 1e-4},
    ],
    'dense_layers': [{'out_features': 32, 'activation': 'glu', 'batch_norm': 1e-4}],
    'epochs': 2,
}


@pytest.fixture(scope='module')
def folder(repository):
    return repository / 'examples/nas'


@pytest.fixture(scope='module')
def nas(folder):
    """Return the modules of the example, imported as its driver imports them."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what PyTorch and ignite think of each other
        patch.syspath_prepend(folder)
        own = SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        threads = own.train_cnn.torch.get_num_threads()
        own.train_cnn.torch.set_num_threads(1)
        yield own
        own.train_cnn.torch.set_num_threads(threads)
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture(scope='module')
def few_digits(nas, tmp_path_factory):
    """Return a folder with 500 digits for the example to find."""
    folder = tmp_path_factory.mktemp('nas')
    images, digits = nas.data.mnist()
    np.savez_compressed(folder / nas.data.MNIST_FILE, images=images[::10], digits=digits[::10])
    return folder


@pytest.fixture(scope='module')
def search(folder, few_digits):
    """Run the driver as a reader would, until there are four trials."""
    command = [sys.executable, str(folder / 'driver.py'), '--max-tasks', '4', '--epochs', '1', '--timeout', '300']
    return subprocess.run(
        [*command, '--seed', '1'], cwd=few_digits, env=ONE_THREAD, check=True, capture_output=True, text=True
    )


@pytest.fixture
def cifar(tmp_path):
    """Write what CIFAR-10 consists of, twelve images a file: one byte of class, 1,024 each of red, green and blue."""
    folder = tmp_path / 'cifar-10-batches-bin'
    folder.mkdir()
    for batch, name in enumerate([*(f'data_batch_{number}' for number in range(1, 6)), 'test_batch']):
        records = [
            bytes([number % 10]) + bytes([batch]) * 1024 + bytes([number]) * 1024 + bytes(range(256)) * 4
            for number in range(12)
        ]
        (folder / f'{name}.bin').write_bytes(b''.join(records))
    return folder


def trees_of(space):
    forest = shadho.Forest(space)
    return [forest.tree(index) for index in range(forest.count)]


def test_there_is_a_tree_for_each_number_of_convolutional_and_of_dense_layers(nas):
    for space in (nas.driver.small_networks(3), nas.driver.slides_networks(10)):
        lengths = {
            tuple(len(tree.decode([0.5] * len(tree))[layers]) for layers in ('conv_layers', 'dense_layers'))
            for tree in trees_of(space)
        }
        assert lengths == {(conv, dense) for conv in range(1, 7) for dense in range(1, 4)}
        assert len(trees_of(space)) == 18


def test_a_convolution_of_any_size_keeps_the_size_of_the_image(nas):
    torch = nas.train_cnn.torch
    for space, sizes in ((nas.driver.small_networks(3), {1, 3, 5}), (nas.driver.slides_networks(3), {1, 3, 5, 7, 9})):
        tree = trees_of(space)[-1]
        decoded = [tree.decode([u] * len(tree)) for u in np.linspace(0, 1, 21)]
        layers = [layer for params in decoded for layer in params['conv_layers']]
        assert {layer['kernel_shape'] for layer in layers} == sizes
        for size, padding in {(layer['kernel_shape'], layer['padding']) for layer in layers}:
            assert torch.nn.Conv2d(1, 1, size, padding=padding)(torch.zeros(1, 1, 28, 28)).shape == (1, 1, 28, 28)


def test_networks_of_every_tree_and_with_every_activation_tell_ten_classes(nas):
    for shape in ((1, 28, 28), (3, 32, 32)):
        for tree in trees_of(nas.driver.small_networks(3)):
            for u in np.linspace(0, 1, 7):  # as many as there are activations
                network = nas.train_cnn.build(tree.decode([u] * len(tree)), shape)
                assert network(nas.train_cnn.torch.zeros(2, *shape)).shape == (2, 10)


def test_the_loss_falls_with_training_and_the_network_tells_digits(nas):
    result = nas.train_cnn.main(SMALL)
    first, second = result['training_losses']
    assert second < first / 2
    assert result['accuracy'] > 0.85
    assert result['loss'] == 1 - result['accuracy']
    assert result['weights'] > 10_000


def test_parts_of_the_digits_have_no_image_in_common(nas):
    parts = nas.data.parts()
    assert {name: len(images) for name, (images, _) in parts.items()} == {
        'train': 2000, 'validation': 1000, 'held out': 2000,
    }  # fmt: skip
    everything = np.concatenate([images for images, _ in parts.values()])
    assert len(np.unique(everything.reshape(5000, -1), axis=0)) == 5000
    assert nas.data.parts() is parts


def test_cifar_is_read_from_its_binary_version(nas, cifar):
    parts = nas.data.parts(cifar)
    assert {name: images.shape for name, (images, _) in parts.items()} == {
        'train': (54, 3, 32, 32), 'validation': (6, 3, 32, 32), 'held out': (12, 3, 32, 32),
    }  # fmt: skip
    images, classes = parts['train']
    assert classes[:13].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 0]
    red, green, blue = images[14]  # the third image of the second file
    assert (set(red.flat), set(green.flat)) == ({1}, {2})
    assert blue[0].tolist() == list(range(32))
    assert parts['held out'][0][0, 0, 0, 0] == 5


def test_networks_are_trained_on_cifar_too(nas, cifar):
    result = nas.train_cnn.main(SMALL, cifar=cifar)
    assert len(result['training_losses']) == 2
    assert np.isfinite(result['training_losses']).all()


def test_a_missing_file_of_cifar_is_named_with_where_to_get_it_before_the_search(nas, cifar, monkeypatch):
    (cifar / 'data_batch_3.bin').unlink()
    monkeypatch.setattr(sys, 'argv', ['driver.py', '--cifar', str(cifar)])
    with pytest.raises(FileNotFoundError, match=r'no file .*data_batch_3\.bin\. .*cifar-10-binary\.tar\.gz'):
        nas.driver.main()
    assert not Path('cnn-cifar.db').exists()


def test_a_file_of_cifar_that_is_cut_off_is_refused(nas, cifar):
    with (cifar / 'test_batch.bin').open('ab') as file:
        file.write(b'\0')
    with pytest.raises(ValueError, match='test_batch.bin is no batch of CIFAR-10, or is cut off: 36,877 bytes'):
        nas.data.parts(cifar)


def test_the_driver_searches_and_tests_the_best_network_on_images_that_were_held_out(search, few_digits):
    trials = list(shadho.load_result(few_digits / 'cnn.db'))
    assert [trial.state for trial in trials] == ['done'] * 4
    assert all(trial.loss == 1 - trial.results['accuracy'] for trial in trials)
    assert {trial.results['device'] for trial in trials} <= {'cpu', 'cuda'}
    assert re.search(r'trained on 300 images, tells [\d.]+% of 200 held-out images', search.stdout)
    assert (few_digits / 'cnn.png').read_bytes().startswith(b'\x89PNG')


def test_the_objective_can_be_tried_by_hand(folder, few_digits):
    command = [sys.executable, str(folder / 'train_cnn.py'), json.dumps(SMALL)]
    printed = subprocess.run(command, cwd=few_digits, env=ONE_THREAD, check=True, capture_output=True, text=True).stdout
    assert len(json.loads(printed)['training_losses']) == 2


def test_workers_form_classes_by_their_models_of_gpu(nas, folder, few_digits, distributed, tmp_path):
    place = tmp_path / 'nas'
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(few_digits / nas.data.MNIST_FILE, place)
    models = {label: model for label, (model, _) in nas.driver.GPU_CLASSES.items()}
    workers = {label: ['--cores', '1', '--memory', '4000', '--gpus', models[label]] for label in ('h100', 'v100')}
    driver = ['driver.py', '--gpu-classes', '--max-tasks', '2', '--epochs', '1', '--timeout', '300', '--seed', '1']
    distributed('cnn', place, driver, workers)
    trials = list(shadho.load_result(place / 'cnn.db'))
    assert {(trial.compute_class, trial.host) for trial in trials} == {('h100', 'h100'), ('v100', 'v100')}
    assert [(trial.state, trial.resources['gpus']) for trial in trials] == [('done', 1)] * 2
