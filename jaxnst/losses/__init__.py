"""Losses of content, style and smoothness, as pure functions of arrays.

No loss depends on a network, a weight or another loss; their weighted sum is in
`jaxnst.objective`. All losses are 0 at their target, never negative, and differentiable
everywhere.
"""

from .content import (
    content_loss as content_loss,
    cosine_content_loss as cosine_content_loss,
)
from .gram import (
    gram_distance as gram_distance,
    gram_loss as gram_loss,
    gram_matrix as gram_matrix,
)
from .moments import (
    Moments as Moments,
    channel_moments as channel_moments,
    moments_distance as moments_distance,
)
from .nearest_neighbor import (
    Samples as Samples,
    center_samples as center_samples,
    neighbor_error as neighbor_error,
    sample_places as sample_places,
    style_samples as style_samples,
)
from .sliced_wasserstein import (
    sliced_distance as sliced_distance,
    sliced_error as sliced_error,
    style_quantiles as style_quantiles,
)
from .total_variation import total_variation_loss as total_variation_loss
from .wasserstein import (
    Gaussian as Gaussian,
    fit_gaussian as fit_gaussian,
    gaussian_target as gaussian_target,
    wasserstein_distance as wasserstein_distance,
)
