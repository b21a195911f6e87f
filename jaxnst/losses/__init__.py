"""What makes a picture good, as pure functions of arrays.

No function here knows a network, a weight or another loss; the weighted sum is in
`jaxnst.objective`. All are differentiable everywhere they may be evaluated, zero at
their target, and not negative.
"""

from .content import content_loss as content_loss
from .moments import (
    Moments as Moments,
    channel_moments as channel_moments,
    moments_distance as moments_distance,
)
from .neighbors import (
    Samples as Samples,
    center_samples as center_samples,
    neighbor_error as neighbor_error,
    style_samples as style_samples,
)
from .sliced import (
    sliced_distance as sliced_distance,
    sliced_error as sliced_error,
    style_quantiles as style_quantiles,
)
from .smoothness import total_variation_loss as total_variation_loss
from .statistics import gram_matrix as gram_matrix
from .style import gram_distance as gram_distance, gram_loss as gram_loss
from .wasserstein import (
    Gaussian as Gaussian,
    fit_gaussian as fit_gaussian,
    gaussian_target as gaussian_target,
    wasserstein_distance as wasserstein_distance,
)
