"""What theory says about an arm before it is trained; None where no theory holds, never a wrong number.

>>> round(chi("tanh", 0.57, w2=1.761), 2)  # the edge of chaos of tanh at sigma_b^2 = .05
1.0
"""

from initbench.initializers.mean_field import critical_length, critical_point
from initbench.theory.arm import predictions, start_loss, weight_laws
from initbench.theory.linear import learning_time, mode_curve
from initbench.theory.loss import cross_entropy_at_start
from initbench.theory.mean_field import (
    DepthScales,
    chi,
    chi_at,
    correlation_fixed_point,
    correlation_map,
    depth_scales,
    length_fixed_point,
    length_map,
    length_slope,
    pair_mean,
)
from initbench.theory.moments import backward_factor, forward_factor, jacobian_square_scatter, length_scatter
