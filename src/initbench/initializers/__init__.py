"""The catalogue of initializers: `name_(weight, *, generator, ...)` fills one run's `(fan_out, fan_in)` matrix.

In place, and it returns the matrix. Those with `needs` other than "nothing" fill a whole net from a batch.

>>> import torch
>>> xavier_normal_(torch.empty(5, 3), generator=torch.Generator().manual_seed(0)).shape
torch.Size([5, 3])
"""

from initbench.initializers.bias import bias_rule, fill_bias_
from initbench.initializers.calling import (
    Initializer,
    call_,
    catalogued_here,
    check_args,
    check_shared,
    initialize,
    may_repeat,
    needs,
    options,
    resolve,
)
from initbench.initializers.contract import Case, Contract
from initbench.initializers.data_dependent import decoupled_, kmeans_, krahenbuhl_, lsuv_, pca_, weight_norm_ddi_
from initbench.initializers.depth_rules import (
    autoinit_,
    kumar_,
    random_walk_,
    scaled_normal_,
    siren_,
    small_init_,
    wang_init_,
)
from initbench.initializers.fields import siren_ws_, vi3nr_
from initbench.initializers.gains import calculate_gain, gain_value
from initbench.initializers.gradient_dependent import gradinit_, metainit_, nio_
from initbench.initializers.literal import literal_
from initbench.initializers.mean_field import (
    critical_length,
    critical_orthogonal_,
    critical_point,
    edge_of_chaos_,
    row_normalized_,
    row_standardized_,
    weight_norm_rows_,
)
from initbench.initializers.network import asi_, edited_, looks_linear_, per_layer_, zero_head_
from initbench.initializers.orthogonal import (
    glorot_orthogonal_,
    hadamard_,
    he_orthogonal_,
    householder_,
    orthogonal_,
    orthogonal_spectral_,
    orthogonal_svd_,
    scaled_orthogonal_,
    suo_,
)
from initbench.initializers.plain import (
    constant_,
    dirac_,
    normal_,
    ones_,
    trunc_normal_,
    trunc_normal_2sigma_,
    trunc_normal_scaled_,
    two_sided_uniform_,
    uniform_,
    zeros_,
)
from initbench.initializers.registry import REGISTRY, Entry, catalogued
from initbench.initializers.sampled import swim_
from initbench.initializers.sources import source_hash
from initbench.initializers.sparse import eoi_, sparse_, sparse_k_, sparse_k_both_
from initbench.initializers.spectral import np_rnn_, spectral_, spectral_exact_, spectral_radius_
from initbench.initializers.structured import (
    eye_,
    identity_noise_,
    idinit_,
    idinit_branch_,
    irnn_,
    sinusoidal_,
    tanh_identity_,
    zero_,
)
from initbench.initializers.variance import (
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    torch_default_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)
from initbench.initializers.whole_net import balanced_, initialize_net
from initbench.initializers.with_bias import convex_init_, nguyen_widrow_, rai_, sklearn_mlp_
