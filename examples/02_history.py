"""How the loss falls, layer by layer: what `result.history` is for.

Needs matplotlib: pip install 'jaxnst[plot]'.

    python examples/02_history.py CONTENT STYLE out.png
"""

import sys

import numpy as np

import jaxnst


def plot(history, path):
    """Draw every layer's style term and the content term over the steps."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("this example needs matplotlib: pip install 'jaxnst[plot]'")
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in history:
        if name.startswith(("style/", "content/")):
            axes.semilogy(np.maximum(history[name], 1e-4), label=name)
    for step in (np.flatnonzero(np.diff(history["size"])) + 1).tolist():
        axes.axvline(step, color="gray", linewidth=0.5)
        axes.text(step, 1, f" {history['size'][step]} px", color="gray")
    axes.set(xlabel="step", ylabel="what is left", ylim=(1e-3, 2))
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    result = jaxnst.stylize(sys.argv[1], sys.argv[2], size=256)
    plot(result.history, sys.argv[3])
