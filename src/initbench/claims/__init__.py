"""Claims that are judged in many settings: swept, tested cell by cell, one verdict for each part and for the claim.

A study experiments/<slug>/ holds predictions.yaml (what the claim says, what is expected, the sweep; it is committed
before the first run and its hash stands in every result) and analysis.py: a `Study` of that folder and of tests, a pure
function of the frames.

    predictions.yaml -> swept -> runs, history -> tests: entries -> corrected: a table, one row per test -> verdict
                                                                                               -> page: README, figure

A cell is a setting, by default data, activation, depth. In each, a part of the claim `holds`, `fails` or is `undecided`: by a
race (cells.py), or by a number against the region in which the claim puts it (placed.py).
"""

from initbench.claims.cells import Entry, Frames, by_layer, difference, exact, framed, level, race, races, sharing_role
from initbench.claims.placed import Placed, bound, formula, share, within
from initbench.claims.prediction import Part, Prediction, family, load
from initbench.claims.scaling import at_edge, at_least_loss, best_rates, exponents, soonest_rates
from initbench.claims.study import Study
from initbench.claims.words import corrected
