"""The probe: what this machine offers."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

from shadho.errors import ConfigurationError
from shadho.hardware.machine import probe, usable_cpus, visible_gpus


def test_the_probe_tells_cores_memory_and_processor() -> None:
    hardware = probe()
    assert 1 <= hardware.cores <= (os.cpu_count() or 1)
    assert 100 < hardware.memory < 10**8
    assert hardware.cpu


def test_cores_respect_the_affinity_of_the_process() -> None:
    code = f'import os; os.sched_setaffinity(0, [{usable_cpus()[0]}]); from shadho.hardware.machine import probe; print(probe().cores)'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '1\n'


def test_a_short_search_does_not_load_scipy() -> None:
    code = (
        'from shadho import Shadho, spaces; import sys; '
        "Shadho('short', lambda params: params['x'] * params['y'], dict.fromkeys('xy', spaces.uniform(0, 1)), "
        "max_tasks=9, method='random', backend='inline', storage=None).run(); "
        "print({'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'set()\n'


def test_the_environment_overrides_single_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = probe()
    monkeypatch.setenv('SHADHO_HARDWARE', '{"cores": 64, "gpus": ["V100", "V100"], "network": "ib"}')
    hardware = probe()
    assert (hardware.cores, hardware.gpus, hardware.memory) == (64, ('V100', 'V100'), found.memory)
    assert hardware.amount('network') == 'ib'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('cores=4', 'SHADHO_HARDWARE is not JSON'),
        ('[4]', 'SHADHO_HARDWARE must be a JSON object'),
        ('{"cores": 0}', 'SHADHO_HARDWARE: cores cannot be 0; an example:'),
        ('{"cores": "four"}', "cores cannot be 'four'"),
        ('{"gpus": "V100"}', "gpus cannot be 'V100'"),
        ('{"memory": -1}', 'memory cannot be -1'),
    ],
)
def test_an_unusable_override_is_an_error_with_an_example(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('SHADHO_HARDWARE', text)
    with pytest.raises(ConfigurationError, match=message):
        probe()


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for NVIDIA's library, which answers only where there is a GPU."""
    library = types.SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda index: f'GPU-{index}abc',
        nvmlDeviceGetName=lambda index: b'NVIDIA V100',
    )
    monkeypatch.setitem(sys.modules, 'pynvml', library)


@pytest.mark.usefixtures('three_gpus')
@pytest.mark.parametrize(
    ('variable', 'devices'),
    [
        (None, ['GPU-0abc', 'GPU-1abc', 'GPU-2abc']),
        ('', []),
        ('2,0', ['2', '0']),
        ('GPU-1', ['GPU-1']),
        ('1,9,0', ['1']),
        ('-1', []),
    ],
)
def test_gpus_respect_cuda_visible_devices(
    variable: str | None, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    else:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', variable)
    assert visible_gpus() == [(device, 'NVIDIA V100') for device in devices]
