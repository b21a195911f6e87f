"""What figures are called, for people."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .convergence import Convergence


# {metric: (what it is, how to read it)}, in the order in which they are shown.
METRIC_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "lpips": (
            "content lost (LPIPS)",
            "0: the same picture; 0.3: still plain; 0.7: no longer to be seen",
        ),
        "gram_gap": (
            "style left, textures (Gram)",
            "0: reached; 1: no nearer to the painting than the photograph",
        ),
        "wasserstein_gap": (
            "style left, all features (sliced Wasserstein)",
            "likewise, stricter: what is rare counts, too",
        ),
        "bures_gap": (
            "style left, means and covariances (Bures)",
            "likewise, with loud features less in front",
        ),
        "palette_gap": ("style left, colors", "likewise, of the colors alone"),
        "style_detail": (
            "fine detail, over the painting's",
            "1: as much; much more is noise, much less is blur",
        ),
        "content_detail": ("fine detail, over the photograph's", "likewise"),
    }
)
# Of color and structure.
CHANGE_TITLES = ("colors", "structure")


def short_name(term: str) -> str:
    """Return a loss term's name as it stands below a picture."""
    kind, _, layer = term.partition("/")
    return f"{layer} ({kind})" if kind == "content" else layer or "total variation"


def listing(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def convergence_words(convergence: Convergence | None) -> list[str]:
    """Return sentences on whether a painting was still moving."""
    if convergence is None:
        return [
            "Its file does not say how its losses fell, so nobody can tell; pictures "
            "that are saved now do."
        ]
    first = (
        f"The last {convergence.num_steps} steps, at {convergence.size} px, took the "
        f"loss from {convergence.first:.3g} to {convergence.last:.3g}."
    )
    if not convergence.is_known:
        return [first, "That is too few to say what more of them would bring."]
    gain = convergence.gain
    if convergence.is_done:
        return [
            first,
            f"It had come to rest: twice as many would gain about {gain:.0%} more, "
            "which nobody sees.",
        ]
    return [
        first,
        f"It was still moving: twice as many steps (num_steps="
        f"{2 * convergence.num_steps}) would lower it by about {gain:.0%} more.",
    ]
