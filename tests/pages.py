"""Reads the pages of the documentation, and runs their Python."""

import re


def code_blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def run_python(page):
    """Run a page's Python blocks in order. Return the names that they define."""
    namespace = {"__package__": "losses"}  # the folder of a new loss
    for block in code_blocks(page, "python"):
        exec(compile(block, page.name, "exec"), namespace)
    return namespace


def without_code(page):
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.S)


def relative_links(page):
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    return [link for link in links if not link.startswith("https://")]
