"""Places in the plan, the array of int64 that tells the compiled code everything: sizes, then addresses of arrays.

Axes: R runs, S seeds, T steps of the segment, B samples a batch, E evaluation samples, P floats of a run's parameters.
"""

RUNS, STEPS, FIRST_STEP, UPDATE_LAST = range(4)  # R, T, number of the first step, whether the last one learns
LAYERS, PARAMETERS, INPUTS, OUTPUTS = range(4, 8)  # P floats of a run
BATCH, HELD, CUT = range(8, 11)  # B, E, and how many of E are training samples
CLASSES, SQUARED = range(11, 13)  # whether there are classes; whether the loss is the squared error
LD, LDX, LDR, LD_HELD = range(13, 17)  # floats between rows: (units, lanes), X_ROWS, H_ROWS, HELD_X
SHARED, STOP = range(17, 19)  # rows of MEAN_OVER; evaluation whose GOAL ends a run, -1: none
STATE, MOMENTS, SQUARES, GRADIENTS = range(19, 23)  # (R, P) parameters and optimizer state; (P,)
NET, MEAN_OVER = range(23, 25)  # table of layers, see net.py; (SHARED, 3) first float, floats, uses
X, LABELS, TARGETS = range(25, 28)  # the data as they came: (N, inputs), (N,), (N, outputs)
MEAN, INVERSE, TARGET_MEAN, TARGET_INVERSE = range(28, 32)  # (S, inputs), (S,), (S, outputs), (S,)
ROW, BATCH_INDEX, HELD_INDEX = range(32, 35)  # (R,) a run's seed; (S, T, B) and (S, E) sample numbers, int32
EVALUATED, RATES, CONSTANTS, CLIP = range(35, 39)  # (T,) int64; (R, T); (T, 8), see rules.py; (1,) 0: none
PRODUCT_AT, PHI_AT, PULL_AT, LOSS_AT, RULE_AT = range(39, 44)  # compiled functions
BATCH_X, BATCH_LABELS, BATCH_TARGETS, X_ROWS, H_ROWS = range(44, 49)  # buffers; X_ROWS, H_ROWS are (lanes, units)
HELD_X, HELD_LABELS, HELD_TARGETS = range(49, 52)  # evaluation samples, block after block
ZEROS, LIVE, LOSS, TOP, TOTAL = range(52, 57)  # a number a lane
BATCH_LOSSES, EVALUATIONS = range(57, 59)  # out: (R, T); (R, T, 4)
BROKEN, DIVERGED, STOPPED = range(59, 62)  # out: (R,) int64 each
GOAL = 62  # (1,)

# The compiled probe (see probe.py): Q samples, the first of those held; M measured steps of the segment, K sums a step
PROBED, SUMS, SLOTS, KINKED, BOUNDED = range(63, 68)  # Q, 0: no probe; K; rows of SLOT_TABLE; what phi has
MEASURED = 68  # (T + 1,) int64: which of the M a step is, -1: none
PROBE_AT, PROBE_NET, SLOT_TABLE, USES = range(69, 73)  # the function; tables, see probe.py
PROBE_GRADIENTS, TOGETHER, SLOPES, ALIVE = range(73, 77)  # buffers
BOUNDS, START, LD_START, UNITS = range(77, 81)  # (2,) ends of phi's range; (R, UNITS, LD_START) outputs at step 0
PREVIOUS, PROBES, LOOKS = range(81, 84)  # (R, P) before the last update; M; out: (R, M, K)
PROBE_DZ, SELF = 84, 85  # a buffer; address of the plan
LENGTH = 86
