"""Write the tables of settings in README.md and docs/*.md from their declarations.

A table stands between `<!-- settings: NAME, NAME -->` and `<!-- end -->`, with names of
settings, or "the clip". Run `python docs/settings_table.py` after a change to one of
them; a test compares.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from jaxnst.config import CLIP_SETTINGS, SETTINGS


ROOT = Path(__file__).resolve().parent.parent
CLIP = "the clip"  # settings of `ClipConfig`
TABLE = re.compile(r"(<!-- settings: (.*) -->\n).*?(<!-- end -->)", re.DOTALL)


def table_rows(names: list[str]) -> Iterator[str]:
    """Yield the lines of a table of some settings, or of those of a clip."""
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for name in names:
        settings = CLIP_SETTINGS if name == CLIP else {name: SETTINGS[name]}
        for each, setting in settings.items():
            yield f"| `{each}` | {setting.shown_default} | {setting.help} |"


def with_tables(text: str) -> str:
    """Return a page whose tables are as the settings are declared."""

    def write(found: re.Match[str]) -> str:
        rows = "\n".join(table_rows(found[2].split(", ")))
        return f"{found[1]}{rows}\n{found[3]}"

    return TABLE.sub(write, text)


def pages() -> list[Path]:
    """Return the pages that may have tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(with_tables(page.read_text()))
