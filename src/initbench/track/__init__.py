"""Tracking: a study in MLflow. The only package that imports mlflow, and it imports it late (about 2 s).

A study is an experiment, an arm is a parent run with statistics over its seeds, a run is a child run, the report
one more run named ``report``. Everything is written from the frames after training, so that it can be
written again: filling the same study twice changes nothing, and a fill that was killed is completed by the
next one.

Runs train together, many at a time in one process, so that no run has a time of its own: arms and runs begin and end in
the moment in which the study was made, a little apart so that they are listed by rank, and MLflow shows them as 0 ms.
The run ``report`` lasts as long as planning and training took (``elapsed`` in study.json).

Names of metrics
----------------
On a **run** (child): ``loss/train`` ``loss/val`` ``accuracy/train`` ``accuracy/val`` ``loss/batch``,
thinned to about 20 points (``children=full``: every metric and point, of each layer, as ``grad_norm/layer_03``),
and the finals ``steps_to_target`` ``flops_to_target`` ``gap_at_target`` ``diverged_at`` (absent where there
is none).

On an **arm** (parent), over its seeds at its chosen learning rate:

==============================================  ==============================================================
``loss/train`` ...                              median curve, thinned to about 40 points
``grad_norm/first_layer`` ...                   the same of ``middle_layer`` and ``last_layer``, of those that have the
                                                metric; for a few measures, or those named in ``measure.metrics``.
                                                ``children=full``: every measure, layer and point, with the 10% and 90%
                                                quantiles, as ``grad_norm/layer_03`` ``grad_norm_p10/layer_03``
``rank``                                        in its setting, as in the report
``loss_train`` ``accuracy_val``                 medians of the last values, as in the leaderboard; absent if the median
                                                run diverged (a curve ends before that)
``decided_at``                                  n at which its verdict fell, in a study with ``decide=true``
``trained_share``                               share of all seeds trained by step (1 - Kaplan-Meier)
``steps_to_target_median``                      absent if the median seed never arrived
``flops_to_target_median``                      the same
``share_reached`` ``n`` ``diverged`` ``failed`` counts; a failed run is counted in n
``stored_parameters`` ``used_parameters``       of one run
``flops_per_step``                              of one run
``lr_chosen``                                   the learning rate of the curves
``lr_0.1/steps_to_target_median`` ...           the same finals at every learning rate: also share_reached, n,
                                                diverged, failed, and the medians of the last loss_train,
                                                loss_val, accuracy_train, accuracy_val
==============================================  ==============================================================

A page puts all names with one prefix before the last ``/`` into one section: a section is a quantity, a
chart a layer. Quantiles are values of seeds (``inverted_cdf``, no interpolation), a diverged run is the
worst value, and neither NaN nor infinity is ever sent: where a quantile has diverged its curve ends.

Tags: ``initbench.kind`` (arm, run, report), ``initbench.study``, ``initbench.arm`` (arm key),
``initbench.run`` (run key), ``initbench.verdict`` (of an arm, from its report), ``mlflow.runColor`` (of an arm), ``initbench.setup``, ``initbench.setting``, ``initbench.status``,
``initbench.content`` (hash of all that is written; a run with another hash is written anew).
"""

from initbench.track.fetch import fetch
from initbench.track.filling import Filled, experiment, fill, filled, warm_up
from initbench.track.state import state
from initbench.track.uri import resolve_uri, ui_command

__all__ = ["Filled", "experiment", "fetch", "fill", "filled", "resolve_uri", "state", "ui_command", "warm_up"]
