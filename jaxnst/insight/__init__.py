"""Why a picture looks as it does: traces, maps, ablations, origins, and the report."""

from .ablations import Ablations as Ablations
from .changes import (
    Changes as Changes,
    color_change as color_change,
    structure_change as structure_change,
)
from .convergence import Convergence as Convergence
from .explaining import Explanation as Explanation, explain as explain
from .origins import Link as Link, Origins as Origins, find_origins as find_origins
from .plotting import plot_history as plot_history, save_history as save_history
from .pull import Pull as Pull
