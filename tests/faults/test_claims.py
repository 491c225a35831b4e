"""Every sentence of SECURITY.md, and of what the guide says of trust among many machines, has tests that show it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SECURITY, FORGED, NETWORK = (f'tests/faults/test_{name}.py' for name in ('security', 'forged', 'network'))
PAGE, DASHBOARD, RESUME = (
    f'tests/core/{path}.py' for path in ('report/test_page', 'test_dashboard', 'cli/test_resume')
)
ERRORS, RENDEZVOUS, WORKER_INFO, FILES = (
    f'tests/workqueue/test_{name}.py' for name in ('errors', 'rendezvous', 'worker_info', 'files')
)

CLAIMS = {
    'never run, never unpickled': (
        f'{SECURITY}::test_code_is_loaded_in_known_places_only',
        f'{FORGED}::test_what_a_function_writes_into_its_connections_runs_nothing',
        f'{FORGED}::test_what_a_command_leaves_as_its_result_runs_nothing',
    ),
    'results and printed text are limited in size': (
        'tests/workqueue/test_commands.py::test_the_end_of_what_a_command_prints_is_kept',
    ),
    'output files are files and folders below the folder of their trial': (
        f'{FORGED}::test_output_files_lead_nowhere_else',
        f'{FILES}::test_nothing_leaves_an_archive_but_files_and_folders_below_its_place',
        'tests/mpi/test_files.py::test_what_leads_out_of_the_folder_is_refused',
    ),
    'gets nothing without the password, and cannot end a search': (
        f'{NETWORK}::test_who_does_not_know_the_password_gets_nothing_and_ends_nothing',
        f'{ERRORS}::test_a_wrong_password_is_told_of_on_both_sides',
        f'{ERRORS}::test_the_password_is_asked_of_plain_workers_too',
    ),
    'can hold it up, by connections that say nothing': (
        f'{NETWORK}::test_connections_that_say_nothing_hold_a_search_up_and_end_nothing',
    ),
    'what their trials return travels in these as JSON': (
        f'{FORGED}::test_what_a_function_writes_into_its_connections_runs_nothing',
    ),
    'commands that look at it import and unpickle nothing that it names': (
        f'{FORGED}::test_no_command_that_looks_at_a_file_imports_what_it_names',
    ),
    'and print no control characters': (
        f'{FORGED}::test_no_command_that_looks_at_a_file_prints_what_steers_a_terminal',
    ),
    'can be resumed from a file only by showing you the command': (
        f'{RESUME}::test_the_command_is_shown_and_only_runs_when_that_is_wanted',
    ),
    'made up anew unless you give one': (
        f'{RENDEZVOUS}::test_passwords_that_are_made_up_are_long_and_different',
        f'{RENDEZVOUS}::test_a_search_takes_a_password_that_it_is_given',
    ),
    'kept in files of mode 0600': (
        f'{RENDEZVOUS}::test_only_the_user_may_read_it',
        f'{SECURITY}::test_every_folder_on_the_way_to_a_password_is_private',
    ),
    'never in\narguments of a process': (
        f'{NETWORK}::test_passwords_and_tokens_are_in_no_list_of_processes_and_in_nothing_that_is_shown_or_kept',
    ),
    'Storages, passwords and addresses are readable by you only': (
        f'{SECURITY}::test_others_can_read_nothing_of_a_search_while_it_runs',
    ),
    'Names, hosts and messages are shown without control characters': (
        f'{FORGED}::test_no_text_of_a_trial_steers_the_terminal_of_the_driver',
        f'{FORGED}::test_no_text_of_a_trial_steers_the_panel',
    ),
    'A CSV file holds the texts of trials as they are': (
        f'{FORGED}::test_texts_of_trials_are_exported_as_they_are_and_a_spreadsheet_must_be_told_that_they_are_texts',
    ),
    'whose policy lets nothing run but its own scripts': (
        f'{PAGE}::test_the_policy_of_a_page_lets_its_own_scripts_run_and_no_others',
        f'{PAGE}::test_a_page_has_all_in_one_file_and_refers_to_nothing',
        f'{PAGE}::test_no_text_of_a_search_can_leave_its_place_in_the_page',
    ),
    'The dashboard only reads': (
        f'{DASHBOARD}::test_nothing_but_reading_is_possible_and_by_no_other_name',
        f'{DASHBOARD}::test_with_a_token_only_those_who_know_it_see_anything',
        f'{DASHBOARD}::test_other_machines_need_a_token',
    ),
    'pages of other sites cannot read it': (f'{DASHBOARD}::test_pages_of_other_sites_cannot_read_it',),
    'as pickles, never back': (f'{SECURITY}::test_code_is_loaded_in_known_places_only',),
}
"""WorkerOutput of SECURITY.md, and the tests that show what they claim."""

OF_WORK_QUEUE = {
    'prove to each other that they know it': (f'{WORKER_INFO}::test_the_password_is_not_sent',),
    'The driver unpickles nothing that comes over the network': (
        f'{SECURITY}::test_code_is_loaded_in_known_places_only',
    ),
    'what is a link, or an archive with anything but files and\n  folders below its place, is refused': (
        f'{FILES}::test_a_link_or_a_folder_in_place_of_a_file_is_refused',
        f'{FILES}::test_nothing_leaves_an_archive_but_files_and_folders_below_its_place',
    ),
    'answers tasks of its own worker only, which know its token': (
        'tests/workqueue/test_faults.py::test_idle_connections_keep_no_trial_from_its_slot',
        f'{NETWORK}::test_passwords_and_tokens_are_in_no_list_of_processes_and_in_nothing_that_is_shown_or_kept',
    ),
}
"""The same of docs/explanation/work-queue.md."""


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_what_is_claimed_is_shown_by_tests_that_exist(repository: Path) -> None:
    for page, claims in (('SECURITY.md', CLAIMS), ('docs/explanation/work-queue.md', OF_WORK_QUEUE)):
        text = (repository / page).read_text()
        assert [claim for claim in claims if claim not in text] == []
        for path, _, name in (test.partition('::') for tests in claims.values() for test in tests):
            assert name in functions(repository / path), f'{path} has no {name}'


def test_no_paragraph_of_the_page_on_security_claims_what_no_test_shows(repository: Path) -> None:
    text = (repository / 'SECURITY.md').read_text().partition('## Whom')[2].partition('**What this rests on')[0]
    paragraphs = [part for part in re.split(r'\n\n|\n(?=\|)', text) if part.startswith('**')]
    assert len(paragraphs) >= 7
    assert [part for part in paragraphs if not any(claim in part for claim in CLAIMS)] == []
