"""Every link from one page to another leads somewhere, and every page of the documentation can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted({
    *ROOT.glob('*.md'),
    *ROOT.glob('packages/*/README.md'),
    *ROOT.glob('examples/**/README.md'),
    *(page for page in DOCS.rglob('*.md') if '_build' not in page.parts),
})  # fmt: skip

_FENCE = re.compile(r'^(?P<fence>`{3,}|:{3,})(?P<info>.*)\n(?P<body>(?:.*\n)*?)(?P=fence)[ ]*$', re.MULTILINE)
_LINK = re.compile(r'(?<!`)\[(?:[^][]|\[[^][]*\])*\]\(<?(?P<target>[^()\s<>]+(?:\([^()\s]*\)[^()\s]*)?)>?\)')
_PICTURE = re.compile(r'^(?:`{3,}|:{3,})\{(?:figure|image)\} (?P<target>\S+)', re.MULTILINE)
_HEADING = re.compile(r'^#{1,3} (?P<title>.+?)\s*#*$', re.MULTILINE)  # as deep as `myst_heading_anchors` says


def _prose(text: str) -> str:
    """Return the text of a page without its blocks of code; what is in directives of prose stays."""
    return _FENCE.sub(_prose_of_block, text)


def _prose_of_block(block: re.Match[str]) -> str:
    if not re.match(r'\{(?!eval-rst|toctree)', block['info']):
        return ''
    return f'{block["fence"]}{block["info"]}\n{_prose(block["body"])}{block["fence"]}'


def _read(page: Path) -> str:
    return _prose(page.read_text(encoding='utf-8'))


def _links(page: Path) -> list[str]:
    text = _read(page)
    found = [match['target'] for pattern in (_LINK, _PICTURE) for match in pattern.finditer(text)]
    return [target for target in found if not re.match(r'[a-z][a-z0-9+.-]*:', target)]


def _anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as MyST and GitHub make them."""
    anchors: list[str] = []
    for match in _HEADING.finditer(_read(page)):
        words = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', match['title']).replace('`', '')
        slug = re.sub(r'[^\w\- ]', '', words.strip().lower().replace(' ', '-'))
        again = sum(re.fullmatch(re.escape(slug) + r'(-\d+)?', own) is not None for own in anchors)
        anchors.append(f'{slug}-{again}' if again else slug)
    return set(anchors)


def _broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    broken = []
    for target in _links(page):
        place, _, anchor = target.partition('#')
        goal = (page.parent / place).resolve() if place else page
        if not goal.exists() or (anchor and (goal.suffix != '.md' or anchor not in _anchors(goal))):
            broken.append(target)
    return broken


def _children(page: Path) -> list[Path]:
    """Return the pages that the tables of contents of a page name."""
    blocks = [
        match['body'] for match in _FENCE.finditer(page.read_text(encoding='utf-8')) if match['info'] == '{toctree}'
    ]
    names = [line.strip() for block in blocks for line in block.splitlines() if line.strip() and line[0] != ':']
    return [(page.parent / f'{name}.md').resolve() for name in names]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert _broken(page) == []


def test_many_links_and_anchors_were_looked_at() -> None:
    links = [target for page in PAGES for target in _links(page)]
    assert len(links) > 200
    assert sum('#' in target for target in links) > 50


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / 'other.md').write_text(
        "# A title: `code`\n\n## It's [here](x.md)\n\n## Twice\n\n## Twice\n\n#### Too deep\n"
    )
    page = tmp_path / 'page.md'
    page.write_text(
        '[a](other.md#a-title-code) [b](other.md#its-here) [c](other.md#twice-1) [d](https://example.org/x) [e\nf](#g)\n'
        '[h](none.md) [`i`](other.md#twice-2) [j [k]](other.md#too-deep) ![l](none.png)\n'
        ':::{note}\n[m](none/)\n```python\nx[0](none)\n```\n:::\n\n```python\nx[0](none)\n```\n\n## G\n\n```{figure} no.svg\n:alt: n\n```\n'
    )
    assert _broken(page) == ['none.md', 'other.md#twice-2', 'other.md#too-deep', 'none.png', 'none/', 'no.svg']


def test_every_page_of_the_documentation_is_in_one_table_of_contents() -> None:
    pages = [page for page in PAGES if DOCS in page.parents]
    named = [child for page in pages for child in _children(page)]
    assert sorted(named) == [page for page in pages if page != DOCS / 'index.md']
