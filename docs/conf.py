"""How Sphinx builds the documentation: ``make docs``."""

from importlib.metadata import version as _version

project = "regmodel"
author = "the regmodel authors"
copyright = author
release = version = _version("regmodel")

extensions = ["myst_parser", "sphinx_copybutton", "regmodel.sphinx"]
regmodel_devices = "all"
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_templates", "selftests.partial"]
nitpicky = True

html_theme = "furo"
html_title = "regmodel"
html_theme_options = {"source_repository": "", "navigation_with_keys": True}
html_copy_source = False
html_static_path: list[str] = []
templates_path = ["_templates"]
