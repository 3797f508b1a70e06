"""The site of these pages: `make docs` writes it to build/site, and any warning fails it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_content, pending_xref, pending_xref_condition
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

project = "airflow-provider-btrdb"
html_title = project
html_theme = "furo"
html_show_copyright = False
html_copy_source = False

extensions = ["myst_parser", "autoapi.extension"]
# The pages are read on the repository as well, where headings of all levels are anchors.
myst_heading_anchors = 4

# Docstrings are read from the source; nothing of the package or of Airflow is imported.
autoapi_dirs = ["../airflow_provider_btrdb"]
autoapi_ignore = ["*/wire/*", "*/cli/*"]
autoapi_generate_api_docs = False  # the pages below reference/ say what is public
autoapi_add_toctree_entry = False
autoapi_member_order = "bysource"
# Names from Airflow, and from the folders left out, are no part of the reference.
suppress_warnings = ["autoapi.python_import_resolution"]
# `x` in a docstring is a link where x is part of the reference, and code otherwise.
default_role = "py:obj"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100  # a longer one has a line for each parameter


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", skip_undocumented)
    app.connect("doctree-read", shorten_types)
    app.connect("doctree-read", find_code_without_colons)


def skip_undocumented(*event: Any) -> bool | None:
    """Show what a module defines and has a docstring, and fields of records, whose name and type may say all."""
    _app, _what, _name, member, *_ = event
    is_field = member.type == "attribute" and member.obj.get("annotation") and member.obj.get("value") is None
    wanted = not member.imported and (member.docstring or is_field)
    return None if wanted else True


def shorten_types(app: Sphinx, doctree: nodes.document) -> None:
    """In signatures, Points instead of airflow_provider_btrdb.client.models.Points, and a link wherever it stands."""
    for reference in doctree.findall(pending_xref):
        shorter = [child for child in reference.findall(pending_xref_condition) if child.get("condition") == "resolved"]
        if shorter:
            reference.children = shorter[0].children
            if reference["reftarget"].startswith("airflow_provider_btrdb."):
                reference["reftarget"] = reference["reftarget"].rpartition(".")[2]
                reference["refspecific"] = True


def find_code_without_colons(app: Sphinx, doctree: nodes.document) -> None:
    """Code in a docstring needs `::` before it, or it is set like text."""
    for content in doctree.findall(desc_content):
        for quote in content.findall(nodes.block_quote):
            getLogger(__name__).warning("an indented block without :: before it: %s", quote.astext(), location=quote)
