"""Why a picture looks as it does: losses, attribution, correspondence, ablations."""

from .ablations import Ablations as Ablations
from .advice import Convergence as Convergence
from .attribution import Pull as Pull
from .correspondence import (
    Link as Link,
    Origins as Origins,
    find_origins as find_origins,
)
from .differences import (
    Changes as Changes,
    color_change as color_change,
    structure_change as structure_change,
)
from .explanation import Explanation as Explanation, explain as explain
from .plots import plot_history as plot_history, save_history as save_history
