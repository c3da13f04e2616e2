"""Places in the plan, the array of int64 that tells the compiled code everything: sizes, then addresses of arrays.

Axes: R runs, S seeds, T steps of the segment, B samples a batch, E evaluation samples, P floats of a run's parameters.
"""

RUNS, STEPS, FIRST_STEP, UPDATE_LAST = range(
    4
)  # R, T (0: a probe), number of the first step, whether the last one learns
LAYERS, PARAMETERS, INPUTS, OUTPUTS = range(4, 8)  # P floats of a run
BATCH, HELD, CUT = range(8, 11)  # B, E, and how many of E are training samples
CLASSES, SQUARED = range(11, 13)  # whether there are classes; whether the loss is the squared error
LD, LDX, LDR, LD_HELD = range(13, 17)  # floats between rows: (units, lanes), X_ROWS, H_ROWS, HELD_X
NET_BYTES, GRADIENT_BYTES = range(17, 19)  # from one run's table and gradients to the next
SHARED, STOP = range(19, 21)  # rows of MEAN_OVER; evaluation whose GOAL ends a run, -1: none
STATE, MOMENTS, SQUARES, GRADIENTS = range(21, 25)  # (R, P) parameters and optimizer state; (P,) or (R, ...)
NET, MEAN_OVER = range(25, 27)  # table of layers, see net.py; (SHARED, 3) first float, floats, uses
X, LABELS, TARGETS = range(27, 30)  # the data as they came: (N, inputs), (N,), (N, outputs)
MEAN, INVERSE, TARGET_MEAN, TARGET_INVERSE = range(30, 34)  # (S, inputs), (S,), (S, outputs), (S,)
ROW, BATCH_INDEX, HELD_INDEX = range(34, 37)  # (R,) a run's seed; (S, T, B) and (S, E) sample numbers, int32
EVALUATED, RATES, CONSTANTS, CLIP = range(37, 41)  # (T,) int64; (R, T); (T, 8), see rules.py; (1,) 0: none
PRODUCT_AT, PHI_AT, PULL_AT, LOSS_AT, RULE_AT = range(41, 46)  # compiled functions
BATCH_X, BATCH_LABELS, BATCH_TARGETS, X_ROWS, H_ROWS = range(46, 51)  # buffers; X_ROWS, H_ROWS are (lanes, units)
HELD_X, HELD_LABELS, HELD_TARGETS = range(51, 54)  # evaluation samples, block after block
ZEROS, LIVE, LOSS, TOP, TOTAL = range(54, 59)  # a number a lane
BATCH_LOSSES, EVALUATIONS = range(59, 61)  # out: (R, T); (R, T, 4)
BROKEN, DIVERGED, STOPPED = range(61, 64)  # out: (R,) int64 each
GOAL = 64  # (1,)
LENGTH = 65
