"""Why does it look like that? A picture, its report, its figures and its losses.

python examples/02_explain.py CONTENT STYLE FOLDER [SIZE]
"""

import sys
from pathlib import Path

import jaxnst
from jaxnst.insight import save_history


def explain(content, style, folder, **settings):
    """Paint a pair, and write into a folder why it looks as it does."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    result = jaxnst.stylize(content, style, **settings)
    result.save(folder / "out.png")
    save_history(result.history, folder / "losses.csv")
    save_history(result.history, folder / "losses.png")
    explanation = jaxnst.explain(result)
    explanation.save(folder / "why.html")
    explanation.save_sheets(folder)
    return explanation


if __name__ == "__main__":
    size = int(sys.argv[4]) if len(sys.argv) > 4 else 512
    for sentence in explain(*sys.argv[1:4], size=size).advice:
        print(sentence)
