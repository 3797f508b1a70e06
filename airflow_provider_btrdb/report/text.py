"""A page as text, for logs and terminals."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_btrdb.catalog.streams import printable
from airflow_provider_btrdb.report.pages import Page, Section


def page_text(page: Page) -> str:
    """Title, facts and sections in lines; a table as one line for each row. Pictures are left out."""
    badges = "".join(f" [{badge.text}]" for badge in page.badges)
    lines = [f"{printable(page.title)}{badges}", printable(page.summary)]
    lines += [f"{fact.label}: {printable(fact.value)}" for fact in page.facts]
    return "\n".join([*lines, *(line for section in page.sections for line in _section(section))])


def _section(section: Section) -> Iterator[str]:
    badges = "".join(f" [{badge.text}]" for badge in section.badges)
    yield ""
    yield f"{printable(section.title)}{badges}"
    for words in section.words:
        yield printable(words)
    if section.table is not None:
        for row in section.table.rows:
            cells = ("; ".join(map(printable, cell.lines)) for cell in row)
            yield f"  {' | '.join(cell for cell in cells if cell)}"
        if section.table.left_out:
            yield f"  ... and {section.table.left_out} more"
