"""Why a picture looks as it does: traces, maps, ablations, origins, and the report."""

from .ablations import Ablations as Ablations
from .attribution import Pull as Pull
from .convergence import Convergence as Convergence
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
from .plotting import plot_history as plot_history, save_history as save_history
