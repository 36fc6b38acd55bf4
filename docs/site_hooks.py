"""Hooks of MkDocs: files of the repository that the pages link to become pages of the site.

On GitHub a link such as `../losses/dismax.py` leads to that file. The site holds only what is in
docs/, so each such file gets a page in `repository/`, and the links lead there.
"""

import json
import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)\s]*)?\)")  # a relative path, and an anchor
FENCE = "`" * 4
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def target_of(path: Path, link: str) -> Path:
    """Return the file that a link in the file `path` leads to."""
    return Path(os.path.normpath(path.parent / link))


def site_path(path: Path) -> str:
    """Return where a file of the repository lies among the site's sources."""
    if path.is_relative_to(DOCS):
        name = path.relative_to(DOCS).as_posix()
    else:
        name = f"repository/{path.relative_to(ROOT).as_posix()}"
    return name if path.suffix in (".md", ".png") else f"{name}.md"


def as_markdown(path: Path) -> str:
    """Return a file as a page: Markdown as it is, a notebook by its cells, others as code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        parts = ["".join(cell["source"]) for cell in cells]
        fenced = [
            part if cell["cell_type"] == "markdown" else f"{FENCE}python\n{part}\n{FENCE}"
            for cell, part in zip(cells, parts, strict=True)
        ]
        return "\n\n".join(fenced) + "\n"
    name = path.relative_to(ROOT).as_posix()
    language = {".py": "python", ".csv": "text"}.get(path.suffix, "bash")
    return f"{NOT_SEARCHED}# `{name}`\n\n{FENCE}{language}\n{text}\n{FENCE}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that the pages link to, and those that these link to."""
    notebooks = [file for file in files if file.src_uri.endswith(".ipynb")]
    for notebook in notebooks:
        files.remove(notebook)
    waiting = [Path(str(file.abs_src_path)) for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for link, _ in LINK.findall(as_markdown(page)):
            target = target_of(page, link)
            uri = site_path(target)
            if not target.is_file() or not target.is_relative_to(ROOT) or uri in files.src_uris:
                continue
            if target.suffix == ".png":
                files.append(File.generated(config, uri, abs_src_path=str(target)))
                continue
            file = File.generated(config, uri, content=as_markdown(target))
            file.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(file)
            if target.suffix in (".md", ".ipynb"):
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links lead to the site's pages."""
    uri = page.file.src_uri
    if uri.startswith("repository/"):
        path = ROOT / uri.removeprefix("repository/")
    else:
        path = DOCS / uri.removesuffix(".ipynb.md")

    def on_site(match: re.Match[str]) -> str:
        target = target_of(path, match[1])
        if not target.is_file():
            return match[0]
        new = posixpath.relpath(site_path(target), posixpath.dirname(uri) or ".")
        return f"]({new}{match[2] or ''})"

    return LINK.sub(on_site, markdown)
