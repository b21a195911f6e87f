"""What makes a picture good, as pure functions of arrays.

No function here knows a network, a weight or another loss; the weighted sum is in
`jaxnst.objective`. All are differentiable everywhere they may be evaluated, zero at
their target, and not negative.
"""

from .content import content_loss as content_loss
from .smoothness import total_variation_loss as total_variation_loss
from .statistics import gram_matrix as gram_matrix
from .style import gram_distance as gram_distance, gram_loss as gram_loss
