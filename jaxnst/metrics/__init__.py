"""How good is a picture: content kept, style reached, colors, fine detail.

Measured with AlexNet, which painted none of them: the network that a picture was
optimized on is the last to ask. Pictures are RGB, float32, [0, 1], HWC, sRGB. `measure`
takes pictures of any kind; the rest are pure functions, for `jax.jit` and `jax.vmap`.
"""

from jaxnst.losses.slicing import (
    projection_directions as projection_directions,
    sliced_quantiles as sliced_quantiles,
)

from .detail import (
    detail_ratio as detail_ratio,
    high_frequency_energy as high_frequency_energy,
)
from .measuring import (
    Metrics as Metrics,
    compute_metrics as compute_metrics,
    measure as measure,
)
from .palette import oklab as oklab, palette_gap as palette_gap
from .perceptual import lpips as lpips
from .seam import (
    line_scores as line_scores,
    seam_score as seam_score,
    seam_scores as seam_scores,
)
from .style_gap import (
    bures_gap as bures_gap,
    gram_gap as gram_gap,
    wasserstein_gap as wasserstein_gap,
)
from .table import format_table as format_table
