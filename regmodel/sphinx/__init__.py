"""A Sphinx extension: registers, descriptors, messages and handshakes in anybody's manual, read off their descriptions.

::

    extensions = ["regmodel.sphinx"]
    regmodel_devices = ["igbvf"]            # a page tree below devices/ for each; or "all" that are installed

    .. regmodel:register:: igbvf RXDCTL     # one register, anywhere

Nothing in here knows of emulators or drivers. Importing it imports Sphinx, so nothing else of the package does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset_file
from sphinx.util.typing import ExtensionMetadata

from regmodel.catalogue import Description, describe, devices
from regmodel.coverage import gaps
from regmodel.sphinx import pages
from regmodel.sphinx.build import picture
from regmodel.sphinx.domain import RegmodelDomain

_log = logging.getLogger(__name__)
_HREF = re.compile(r'href="regmodel:([^/"]+)/([^"]*)"')


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_config_value("regmodel_devices", [], "env", types=(list, tuple, str))
    app.add_domain(RegmodelDomain)
    skipped = (_skip, None)
    app.add_node(picture, html=(_visit, _depart), latex=skipped, text=skipped, man=skipped, texinfo=skipped)
    app.connect("builder-inited", _write_pages)
    app.connect("build-finished", _finish)
    app.connect("html-page-context", _own_branch, priority=400)  # before the theme makes its sidebar
    app.add_css_file("regmodel.css")
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Sphinx) -> None:
    """And a warning for each thing of which nothing is said, which fails a build that heeds warnings (``-W``)."""
    if app.config.regmodel_devices:
        found = _described(app)
        pages.write(Path(app.srcdir), found)
        for device in found.values():
            for gap in gaps(device):
                _log.warning("%s %s", device.name, gap, type="regmodel", subtype="coverage")


def _described(app: Sphinx) -> dict[str, Description]:
    """What the project's configuration names, by the name that it uses."""
    wanted = app.config.regmodel_devices
    return dict(devices()) if wanted == "all" else {name: describe(name) for name in wanted}


def _own_branch(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """In the sidebar of a device's page its own pages and the names of the others: it does not grow with their pages."""
    if "toctree" in context and page.startswith(f"{pages.FOLDER}/"):
        whole = context["toctree"]
        context["toctree"] = lambda **options: whole(**{**options, "collapse": True})


def _finish(app: Sphinx, error: Exception | None) -> None:
    """The style sheet, beside the theme's."""
    if error is None and app.builder.format == "html":
        copy_asset_file(Path(__file__).parent / "static" / "regmodel.css", Path(app.outdir) / "_static", force=True)


def _visit(self: Any, node: picture) -> None:
    domain = self.builder.env.get_domain("regmodel")

    def link(match: re.Match[str]) -> str:
        place = domain.find(match[1], match[2])
        if place is None:
            return ""
        uri = self.builder.get_relative_uri(self.builder.current_docname, place[0])
        return f'href="{uri}#{place[1]}"'

    self.body.append(f'<div class="rm-svg">{_HREF.sub(link, node["svg"])}</div>')
    raise nodes.SkipNode


def _depart(self: Any, node: picture) -> None: ...


def _skip(self: Any, node: picture) -> None:
    raise nodes.SkipNode
