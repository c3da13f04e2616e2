"""Columns of the tables that stand behind the plan's addresses, and of the sums that the probe takes.

Without Numba, so that a start from the cache does not import it.
"""

# Columns of the table of layers (int64). WEIGHT and BIAS (-1: none) are bytes from the start of a run's parameters, DW
# and DB from the start of its gradients; Z, H and DZ are addresses. LAST_USE and LAST_BIAS_USE: no layer above this one
# has the same tensor, so its gradient starts here.
FAN_OUT, FAN_IN, LDW, WEIGHT, BIAS, DW, DB, Z, H, DZ, LAST_USE, LAST_BIAS_USE = range(12)
COLUMNS = 12

# Sums of a layer: of z^2; of its output h and h^2; of (d loss_i / d z)^2; of h's squared change since step 0; units whose
# slope is 0 on all samples; entries near the ends of phi's range. Then of its weight's gradient g of this use alone, if
# the weight is shared: |g|^2, |G - g|^2 and <g, G - g>, G the sum over uses.
Z2, H1, H2, D2, CHANGE, DEAD, SATURATED, USE2, OTHERS2, USE_OTHERS = range(10)
LAYER_SUMS = 10
# Sums of a stored tensor w: w, w^2, (w - mean)^2, (w - before the last update)^2; G^2 and (G - mean)^2.
W1, W2, W_DEVIATION, MOVED2, G2, G_DEVIATION = range(6)
SLOT_SUMS = 6
# Columns of the table of stored tensors: first float, rows, columns, floats between rows, number of uses, first of its
# uses in the list of byte offsets of their gradients, and whether it is a weight that layers share (layers follow).
FIRST, ROWS, COLUMNS_OF, LD_OF, USES_OF, FIRST_USE, SHARED_WEIGHT = range(7)
SLOT_COLUMNS = 7
