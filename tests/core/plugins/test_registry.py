import logging
from importlib.metadata import EntryPoint

import pytest

from shadho import Shadho, hookimpl, spaces
from shadho.errors import ConfigurationError, PluginError
from shadho.plugins import Registry, installed, load
from shadho.samplers.random import Random

SAMPLER = """
from shadho import hookimpl
from shadho.samplers.random import Random

class Other(Random):
    name = {name!r}

@hookimpl
def shadho_register_samplers():
    return [Other]
"""


class Mine(Random):
    name = 'mine'


class Sampling:
    @hookimpl
    def shadho_register_samplers(self):
        return [Mine]


def broken_plugins():
    return {plugin.name: plugin.broken for plugin in installed() if plugin.broken}


def test_our_own_parts_are_registered_as_anybodys(site):
    builtin = installed()[0]
    assert (builtin.name, builtin.distribution) == ('builtin', 'shadho-core')
    assert set(builtin.registers) == {'backend', 'fidelity', 'heuristic', 'policy', 'sampler', 'storage'}
    assert load().get('sampler', 'random') is Random


def test_an_installed_plugin_is_found_by_its_entry_point(install):
    install('shadho-other', SAMPLER.format(name='other'), version='2.5')
    plugin = next(plugin for plugin in installed() if plugin.name == 'shadho_other')
    assert (plugin.distribution, plugin.version, plugin.registers) == ('shadho-other', '2.5', {'sampler': ['other']})
    assert load().get('sampler', 'other').name == 'other'


def test_importing_shadho_loads_no_plugin(install):
    import subprocess
    import sys

    install('shadho-loud', 'raise SystemExit("loaded")')
    code = 'import sys, shadho, shadho.plugins; print("shadho_loud" in sys.modules)'
    answer = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert answer.stdout == 'False\n'


@pytest.mark.parametrize(
    ('code', 'reason'),
    [
        ('def f(:', 'SyntaxError'),
        ('import no_such_module_of_anybody', "ModuleNotFoundError: No module named 'no_such_module_of_anybody'"),
        ('from shadho import no_such_name', 'ImportError'),
        ('import sys; sys.exit("give up")', 'SystemExit: give up'),
        ('raise GeneratorExit', 'GeneratorExit'),
        ('1 / 0', 'ZeroDivisionError: division by zero'),
        ('from shadho.errors import PluginError\nraise PluginError("own")', 'PluginError: own'),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_left_out_with_the_reason(install, caplog, code, reason):
    install('shadho-odd', code)
    install('shadho-other', SAMPLER.format(name='other'))
    assert load().get('sampler', 'other').name == 'other'
    assert reason in broken_plugins()['shadho_odd']
    assert 'the plugin shadho_odd of shadho-odd is broken' in caplog.text


def test_a_module_that_is_missing_makes_a_broken_plugin():
    (plugin,) = installed([EntryPoint('gone', 'no_such_module_of_anybody', 'shadho')])
    assert 'ModuleNotFoundError' in plugin.broken


@pytest.mark.parametrize(
    ('code', 'reason'),
    [
        ('@hookimpl\ndef shadho_trial_finnished(trial): pass', 'shadho_trial_finnished'),
        ('@hookimpl\ndef shadho_trial_finished(trial, params): pass', 'params'),
        ('@hookimpl\ndef shadho_register_samplers(): return 1 / 0', 'ZeroDivisionError'),
        ('@hookimpl\ndef shadho_register_samplers(): return 5', 'TypeError'),
        ('@hookimpl\ndef shadho_register_samplers(): return ["random"]', 'needed'),
        ('@hookimpl\ndef shadho_register_samplers(): return [dict]', 'name'),
    ],
    ids=['misspelt hook', 'unknown argument', 'raises', 'no list', 'no class', 'no name'],
)
def test_a_plugin_whose_hooks_are_wrong_is_left_out_with_the_reason(install, code, reason):
    install('shadho-odd', f'from shadho import hookimpl\n{code}')
    assert reason in broken_plugins()['shadho_odd']


def test_nothing_of_a_broken_plugin_is_used(install):
    code = SAMPLER.format(name='half') + '\n@hookimpl\ndef shadho_trial_finnished(trial): pass\n'
    install('shadho-odd', code)
    assert 'half' not in load().classes('sampler')
    more = '@hookimpl\ndef shadho_search_started(search): print("called")\n@hookimpl\ndef shadho_register_backends(): 1 / 0'
    install('shadho-half', f'from shadho import hookimpl\n{more}')
    assert Registry(installed()).notify('shadho_search_started', search=None) == []


def test_a_broken_plugin_stops_no_search(install):
    install('shadho-odd', 'import sys; sys.exit(1)')
    opt = Shadho('x', lambda p: p['x'], {'x': spaces.grid([1])}, backend='inline', storage=None, display=False)
    assert len(opt.run()) == 1


def test_a_broken_plugin_is_imported_and_reported_once(install, caplog):
    install('shadho-odd', 'import sys; sys.exit(1)')
    for _ in range(3):
        load().extended(Sampling())
    assert caplog.text.count('is broken') == 1


def test_a_name_claimed_twice_is_an_error_that_names_both_distributions(install):
    install('shadho-one', SAMPLER.format(name='same'))
    install('shadho-two', SAMPLER.format(name='same'))
    with pytest.raises(PluginError, match="the sampler 'same' is claimed by shadho-one and by shadho-two"):
        load()


def test_a_name_of_our_own_cannot_be_claimed(install):
    install('a-shadho', SAMPLER.format(name='random'))
    with pytest.raises(PluginError, match="'random' is claimed by shadho-core and by a-shadho"):
        load()


def test_one_name_may_stand_for_parts_of_different_kinds(install):
    install('shadho-one', SAMPLER.format(name='inline'))
    assert load().get('sampler', 'inline') is not load().get('backend', 'inline')


class Renamed(Random):
    name = 'new'
    aliases = ('old', 'older')


class Registers:
    def __init__(self, cls):
        self.cls = cls

    @hookimpl
    def shadho_register_samplers(self):
        return [self.cls]


def test_a_class_is_found_by_its_aliases_and_listed_by_its_name(site):
    registry = load().extended(Registers(Renamed))
    assert [registry.get('sampler', name) for name in ('new', 'old', 'older')] == [Renamed] * 3
    assert {'new', 'old', 'older'} & set(registry.classes('sampler')) == {'new'}


def test_a_search_by_an_alias_is_recorded_under_the_name(site):
    class Watching(Registers):
        @hookimpl
        def shadho_search_started(self, search):
            assert search.method == 'new'
            started.append(search)

    started = []
    space = {'x': spaces.grid([1])}
    more = {'backend': 'inline', 'storage': None, 'display': False, 'plugins': [Watching(Renamed)]}
    Shadho('x', lambda p: p['x'], space, 'older', **more).run()
    assert len(started) == 1


@pytest.mark.parametrize('aliases', [('random',), ('same',), ('new', 'random')])
def test_an_alias_must_be_free_as_a_name_is(site, aliases):
    taken = type('Same', (Random,), {'name': 'same'})
    other = type('Other', (Random,), {'name': 'other', 'aliases': aliases})
    for order in ([taken, other], [other, taken]):
        with pytest.raises(PluginError, match=rf"'{aliases[-1]}' is claimed by .* and by Registers"):
            load().extended(*map(Registers, order))


@pytest.mark.parametrize('aliases', ['rest', ['rest'], (1,)])
def test_aliases_are_a_tuple_of_strings(site, aliases):
    with pytest.raises(PluginError, match='must be a tuple of strings; got '):
        load().extended(Registers(type('Other', (Random,), {'name': 'other', 'aliases': aliases})))


def test_an_unknown_name_suggests_the_nearest(site):
    with pytest.raises(ConfigurationError, match="method='radnom': no such sampler; did you mean 'random'"):
        load().get('sampler', 'radnom', 'method')


def test_an_unknown_name_tells_of_broken_plugins(install):
    install('shadho-odd', 'import no_such_module_of_anybody')
    with pytest.raises(ConfigurationError, match='shadho-odd is broken: ModuleNotFoundError'):
        load().get('sampler', 'odd')


@pytest.mark.parametrize('name', ['local', 'mpi', 'workqueue'])
def test_the_name_of_a_package_that_is_not_installed_says_how_to_install_it(name):
    with pytest.raises(ConfigurationError, match=rf'it is a package of its own: pip install .*packages/shadho-{name}'):
        Registry().get('backend', name)


def test_objects_can_be_plugins_of_one_search_only(site):
    assert load().extended(Sampling()).get('sampler', 'mine') is Mine
    assert 'mine' not in load().classes('sampler')


def test_a_broken_object_is_the_users_own_error(site):
    class Misspelt:
        @hookimpl
        def shadho_trial_finnished(self, trial):
            pass

    with pytest.raises(PluginError, match='Misspelt cannot be used.*shadho_trial_finnished'):
        load().extended(Misspelt())


def test_an_objects_names_must_be_free_too(site):
    with pytest.raises(PluginError, match='Sampling'):
        load().extended(Sampling(), Sampling())


@pytest.mark.parametrize('error', [ValueError('my error'), SystemExit('my error')])
def test_what_an_observer_raises_is_logged_and_the_others_still_run(site, caplog, error):
    seen = []

    class Faulty:
        @hookimpl
        def shadho_trial_finished(self, trial):
            raise error

    class Watching:
        @hookimpl
        def shadho_trial_finished(self, trial):
            seen.append(trial.id)

    observers = [Watching(), Faulty(), Watching()]
    space = {'x': spaces.grid([1, 2])}
    opt = Shadho('x', lambda p: p['x'], space, backend='inline', storage=None, display=False, plugins=observers)
    with caplog.at_level(logging.ERROR, 'shadho.plugins'):
        assert len(opt.run()) == 2
    assert seen == [0, 0, 1, 1]
    assert caplog.text.count('shadho_trial_finished of the plugin Faulty failed') == 2
    assert 'my error' in caplog.text


def test_ctrl_c_within_an_observer_is_no_fault_of_the_observer(site):
    class Interrupted:
        @hookimpl
        def shadho_trial_finished(self, trial):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load().extended(Interrupted()).notify('shadho_trial_finished', trial=None)


def test_an_observer_takes_only_the_arguments_that_it_wants(site):
    class Brief:
        @hookimpl
        def shadho_should_stop(self):
            return True

    assert load().extended(Brief()).notify('shadho_should_stop', trial=None) == [True]
