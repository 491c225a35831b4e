"""Sphinx configuration: ``sphinx-build -W --keep-going -n docs docs/_build/html``."""

import importlib.metadata

project = 'SHADHO'
author = 'The SHADHO maintainers'
copyright = 'The SHADHO maintainers'
release = version = importlib.metadata.version('shadho-core')

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_build']
myst_enable_extensions = ['colon_fence', 'deflist']
myst_heading_anchors = 3
smartquotes_action = 'D'  # dashes; quotes in the text are code

# Single backticks in docstrings name parameters and objects alike.
default_role = 'code'
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
# Attributes are listed as parameters are: the classes that attrs makes would otherwise be described twice.
napoleon_custom_sections = [('Attributes', 'params_style'), 'Invariants']

highlight_language = 'none'  # of blocks that do not say

html_theme = 'furo'
html_title = f'SHADHO {release}'
html_static_path = ['_static']
html_css_files = ['pages.css']
html_copy_source = False


def show_factories(app, what, name, obj, options, signature, returned):
    """Show a default that attrs makes anew for each object as ``...``."""
    return (signature or '').replace('=NOTHING', '=...') or None, returned


def setup(app):
    app.connect('autodoc-process-signature', show_factories)
