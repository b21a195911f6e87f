"""Metrics of a picture: content kept, style reached, colors, fine detail.

They use AlexNet, because the network that a picture was optimized on cannot judge it.
Pictures are RGB, float32, [0, 1], HWC, sRGB. `measure` takes pictures of any kind; the
others are pure functions, for `jax.jit` and `jax.vmap`.
"""

from jaxnst.losses.sliced_wasserstein import (
    projection_directions as projection_directions,
    sliced_quantiles as sliced_quantiles,
)

from .artifacts import (
    detail_ratio as detail_ratio,
    high_frequency_energy as high_frequency_energy,
    seam_score as seam_score,
    seam_scores as seam_scores,
)
from .evaluation import (
    Metrics as Metrics,
    compute_metrics as compute_metrics,
    format_table as format_table,
    lpips as lpips,
    measure as measure,
)
from .gaps import (
    bures_gap as bures_gap,
    gram_gap as gram_gap,
    oklab as oklab,
    palette_gap as palette_gap,
    wasserstein_gap as wasserstein_gap,
)
