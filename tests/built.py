"""What was built is complete: run by ``nox -s build`` with the folder of wheels and source distributions."""

from __future__ import annotations

import email
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

MODULES = {
    'shadho-core': ('shadho', 'shadho_worker'),
    'shadho-local': ('shadho_local',),
    'shadho-mpi': ('shadho_mpi',),
    'shadho-workqueue': ('shadho_workqueue',),
}
WANTED = ('Summary', 'Keywords', 'Author', 'Project-URL', 'Classifier', 'Requires-Python', 'License-Expression')


def check_metadata(text: bytes, name: str) -> None:
    found: Message = email.message_from_bytes(text)
    assert found['Name'] == name, found['Name']
    missing = [key for key in WANTED if not found[key]]
    assert not missing, f'{name} lacks {missing}'
    assert found['License-File'] == 'LICENSE'
    assert found['Description-Content-Type'] == 'text/markdown'
    assert str(found.get_payload()).startswith(f'# {name}\n')
    assert 'Typing :: Typed' in found.get_all('Classifier', [])


def check_wheel(path: Path, name: str) -> None:
    with zipfile.ZipFile(path) as wheel:
        files = set(wheel.namelist())
        (info,) = {file.partition('/')[0] for file in files if '.dist-info/' in file}
        check_metadata(wheel.read(f'{info}/METADATA'), name)
        assert b'[shadho]' in wheel.read(f'{info}/entry_points.txt')
        assert wheel.read(f'{info}/licenses/LICENSE')
    assert {f'{module}/py.typed' for module in MODULES[name]} <= files
    assert {file.partition('/')[0] for file in files} == {info, *MODULES[name]}
    check_files(files)


def check_source(path: Path, name: str) -> None:
    with tarfile.open(path) as source:
        files = {file.partition('/')[2] for file in source.getnames()}
        folder = path.name.removesuffix('.tar.gz')
        metadata = source.extractfile(f'{folder}/PKG-INFO')
        assert metadata is not None
        check_metadata(metadata.read(), name)
    assert {'LICENSE', 'README.md', 'pyproject.toml', *(f'src/{module}/py.typed' for module in MODULES[name])} <= files
    check_files(files)


def check_files(files: set[str]) -> None:
    left_over = [file for file in files if file.endswith(('.pyc', '.db', '.lock', '.log')) or '__pycache__' in file]
    assert not left_over, left_over


def main(folder: Path) -> None:
    for name in MODULES:
        (wheel,) = folder.glob(f'{name.replace("-", "_")}-*-py3-none-any.whl')
        (source,) = folder.glob(f'{name.replace("-", "_")}-*.tar.gz')
        check_wheel(wheel, name)
        check_source(source, name)
    assert len([*folder.iterdir()]) == 2 * len(MODULES)


main(Path(sys.argv[1]))
