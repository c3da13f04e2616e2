"""From the frames of a study to tables: learning rates, leaderboard, comparisons, curves, bands.

Pure functions on frames; neither torch nor mlflow. Words used throughout:

- ``T``: steps to target, NaN in the frame where a run never arrived. Here a never-arrived run is infinity in
  a median and the budget ``tau`` in a mean; it is never dropped. A failed run (its arm crashed) counts in
  every ``n`` and is infinity in a median, but makes no pair in a ratio.
- ``share``: runs that arrived / all runs of the arm at one learning rate.
- ``gate``: a ratio of steps is given only where both sides arrived in at least 80% of their seeds; below it
  the ratio would be a function of the budget.
- ``cross-fitted``: the learning rate is chosen on half of the seeds and judged on the other half (crossfit.py).

The way of a verdict: runs -> `panel` (rates x seeds) -> `crossfit` (theta and its bootstrap) -> `verdict` (gates,
tests, words) -> `compare` (frames, with what would decide from `remedy`). Words are said only of a setup against the
baseline of its setting, or, where it is asked for, of every two setups (`judge_pairs`: a family of its own).
"""

from initbench.stats.analyses import exact_share, holm_over, rank_correlation
from initbench.stats.average_ranks import AverageRanks, average_ranks
from initbench.stats.compare import (
    Arms,
    Judged,
    comparisons,
    judge,
    leaderboard,
    reference_setups,
)
from initbench.stats.curves import layer_map, layer_maps, loss_bands, trained_by_step
from initbench.stats.every import MOST_PAIRED, all_pairs, judge_pairs
from initbench.stats.factors import effects, factors_of
from initbench.stats.family import NOT_JUDGED, callable_ratio, cannot_call, family_of
from initbench.stats.intervals import median_interval, ratio_interval, wilson
from initbench.stats.order import ordered
from initbench.stats.ranking import LEADERBOARD_COLUMNS, ranked
from initbench.stats.rates import GATE, MIN_SEEDS, at_chosen_lr, budget, chosen_lr, log_outcome, lr_profile
from initbench.stats.remedy import SOME_TARGET, more_seeds, wider
from initbench.stats.same import distinct, groups_of_same
from initbench.stats.studies import common_evaluations, compare_studies
from initbench.stats.summary import performance_profile, summary
from initbench.stats.survival import kaplan_meier, restricted_mean
from initbench.stats.target import left_before, metrics, retarget, select, steps_to_target, value_at, whole_net
from initbench.stats.verdict import ALPHA, holm
