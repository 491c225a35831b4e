import subprocess
import sys


def run(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_without_pytest_the_suites_say_what_they_need():
    answer = run("import sys; sys.modules['pytest'] = None; import shadho.testing")
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == 'ImportError: shadho.testing needs pytest: pip install pytest'


def test_without_pytest_everything_else_works():
    code = """
import pkgutil, sys, importlib
sys.modules['pytest'] = None
import shadho
for module in pkgutil.walk_packages(shadho.__path__, 'shadho.', onerror=lambda name: None):
    if not module.name.startswith('shadho.testing'):
        importlib.import_module(module.name)
print('all imported')
"""
    assert run(code).stdout == 'all imported\n'
