"""Why a picture looks as it does: losses, attribution, correspondence, ablations."""

from .ablations import Ablations as Ablations
from .advice import Convergence as Convergence
from .attribution import Attribution as Attribution
from .clips import ClipExplanation as ClipExplanation
from .correspondence import (
    Correspondence as Correspondence,
    find_correspondences as find_correspondences,
)
from .differences import (
    Differences as Differences,
    color_difference as color_difference,
    structure_difference as structure_difference,
)
from .explanation import Explanation as Explanation, explain as explain
from .plots import plot_history as plot_history, save_history as save_history
