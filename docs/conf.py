"""How Sphinx builds the documentation: ``tox -e docs``, or ``sphinx-build -W -b html docs build/docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "vumi_turn"
author = "the vumi_turn developers"
project_copyright = author
release = re.findall(r'^__version__\b.*"(.+)"', (ROOT / "vumi_turn" / "_version.py").read_text("utf-8"), re.MULTILINE)[
    0
]
version = release

extensions = ["sphinx.ext.autodoc", "sphinxcontrib.httpdomain"]
exclude_patterns = ["changes", "notes", "_build"]

html_theme = "furo"
html_title = f"vumi_turn {release}"

# Members in the order in which their author wrote them; types stand in the signature.
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Literal blocks say their language themselves; the others are not coloured.
highlight_language = "none"
# An option's name is no typographic sequence: "--config" stays as it is.
smartquotes = False
