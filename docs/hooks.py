"""What the site does beside the plugins of MkDocs; `mkdocs.yml` names this file.

- Pages link to files of the repository, such as an example, as the forge does. Those
  files become a part of the site, and the links lead to them.
- `<!-- all settings -->`, `<!-- all commands -->`, `<!-- all filters -->` and
  `<!-- names: MODULE -->` become what the library declares, in place of what is said up
  to `<!-- end -->` for readers of the files themselves.
- Formulas become MathML, which browsers draw without a script and without a font.
"""

import argparse
import html
import os
import re
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from jaxnst.cli.main import build_parser
from jaxnst.config import CLIP_SETTINGS, FILTERS, GROUPS, SETTINGS, Setting


DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
# Pages of the navigation that are not in docs/.
OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "weights/README.md",
)
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)]*)?\))")


def site_uri(path: Path) -> str:
    """Return where a file of the repository is on the site."""
    home = DOCS if path.is_relative_to(DOCS) else ROOT
    return path.relative_to(home).as_posix()


def target_of(page: Path, link: str) -> Path | None:
    """Return the file that a link of a page leads to; None if there is none."""
    path = (page.parent / link).resolve()
    if path.is_dir():
        path = path / "README.md"
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to."""
    sources = [Path(file.abs_src_path) for file in files if file.abs_src_path]
    waiting = [path for path in sources if path.is_relative_to(DOCS)]
    seen = set(waiting)
    waiting += [ROOT / name for name in OUTSIDE]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            uri = site_uri(path)
            files.append(File.generated(config, uri, abs_src_path=str(path)))
        if path.suffix == ".md":
            links = [
                target_of(path, each[2]) for each in LINK.finditer(path.read_text())
            ]
            waiting += [each for each in links if each is not None and each not in seen]
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Return a page with its links led to the site's files, and its tables made."""
    if page.file.abs_src_path:
        path, uri = Path(page.file.abs_src_path), page.file.src_uri

        def lead(found: re.Match[str]) -> str:
            target = target_of(path, found[2])
            if target is None:
                return found[0]
            place = os.path.relpath(site_uri(target), Path(uri).parent)
            return f"{found[1]}{place}{found[3]}"

        markdown = LINK.sub(lead, markdown)
    makers = {
        "all settings": lambda: "\n".join(all_settings()),
        "all commands": lambda: "\n".join(all_commands()),
        "all filters": lambda: "\n".join(all_filters()),
    }

    def make(found: re.Match[str]) -> str:
        return public_names(found[2]) if found[2] else makers[found[1]]()

    marks = "|".join(makers)
    mark = rf"<!-- (?:({marks})|names: (\S+)) -->(?:.*?<!-- end -->)?"
    return re.sub(mark, make, markdown, flags=re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Return a page whose formulas are MathML."""

    def draw(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        return convert(html.unescape(found[2]).strip(), display=display)

    pattern = r'<(div|span) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>'
    return re.sub(pattern, draw, content, flags=re.DOTALL)


def public_names(module: str) -> str:
    """Return a directive of mkdocstrings for each public name of a module."""
    path = ROOT.joinpath(*module.split("."))
    if not path.is_dir():
        return f"::: {module}\n    options:\n      show_root_heading: false\n"
    # They are handed on as `name as name`.
    names = re.findall(r"\b(\w+) as \1\b", (path / "__init__.py").read_text())
    names = [name for name in names if not (ROOT / "jaxnst" / name).is_dir()]
    if module == "jaxnst":
        names = [
            name for name in names if not (ROOT / "jaxnst" / f"{name}.py").exists()
        ]
    names.sort(key=lambda name: name[0].isupper())  # functions before classes
    about = f"::: {module}\n    options:\n      show_root_heading: false\n"
    about += "      members: false\n"
    return "\n".join([about, *(f"::: {module}.{name}" for name in names)])


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return html.escape(text).replace("|", "\\|").replace("*", "\\*").replace("\n", " ")


def setting_rows(settings: dict[str, Setting]) -> Iterator[str]:
    """Yield a table of settings."""
    yield "| setting | default | values | meaning |"
    yield "|---|---|---|---|"
    for name, each in settings.items():
        values = ", ".join(f"`{x}`" for x in each.choices) or (
            f"`{each.metavar}`" if each.metavar else "yes, no"
        )
        default = cell(each.shown_default)
        yield f"| `{name}` | {default} | {values} | {cell(each.help)} |"


def all_settings() -> Iterator[str]:
    """Yield a table for each group of settings, and one for those of clips."""
    for group in GROUPS:
        yield f"## {group[0].upper()}{group[1:]}\n"
        yield from setting_rows({k: x for k, x in SETTINGS.items() if x.group == group})
        yield ""
    yield "## Clips\n"
    yield from setting_rows(dict(CLIP_SETTINGS))


def all_filters() -> Iterator[str]:
    """Yield a table of the filters."""
    yield "| filter | amounts | usual | what it does |"
    yield "|---|---|---|---|"
    for name, each in FILTERS.items():
        span = f"{each.least:g} to {each.most:g}"
        yield f"| `{name}` | {span} | {each.usual:g} | {cell(each.help)} |"


def all_commands() -> Iterator[str]:
    """Yield the description, the examples and the options of every command."""
    parsers = [build_parser()]
    for parser in parsers:
        name = parser.prog
        if name != "jaxnst":
            yield f"## {name}\n"
            yield f"{cell((parser.description or '').strip())}\n"
        usage = parser.format_usage().removeprefix("usage: ").strip()
        yield f"```text\n{usage}\n```\n"
        for group in parser._action_groups:
            actions = [x for x in group._group_actions if x.help != argparse.SUPPRESS]
            commands = [x for x in actions if isinstance(x, argparse._SubParsersAction)]
            for each in commands:
                parsers += list(each.choices.values())
            actions = [x for x in actions if x not in commands]
            if not actions or name == "jaxnst":
                continue
            title = {"positional arguments": "", "options": ""}.get(
                str(group.title), str(group.title)
            )
            yield f"| {cell(title) or 'argument'} | meaning |\n|---|---|"
            for action in actions:
                names = ", ".join(action.option_strings) or str(action.metavar)
                value = (
                    action.metavar
                    if action.option_strings and action.nargs != 0
                    else ""
                )
                value = f" {value}" if isinstance(value, str) and value else ""
                text = parser._get_formatter()._expand_help(action)
                yield f"| `{names}{value}` | {cell(text)} |"
            yield ""
        if parser.epilog:
            yield f"```text\n{parser.epilog.strip()}\n```\n"
