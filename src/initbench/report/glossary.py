"""The words of a page, each in a sentence, in the order in which a reader meets them."""

from __future__ import annotations

WORDS = (
    ("setup", "what is compared: an initializer and a sharing scheme, written initializer · sharing (eye · none)"),
    ("initializer", "the rule that fills the weights before the first step"),
    ("sharing", "which layers use one and the same weight; none: every layer has its own"),
    ("setting", "what stays the same in a comparison: data, net, optimizer, batch size, number of steps"),
    ("arm", "one setup in one setting"),
    ("run", "one training: an arm, a learning rate, a seed"),
    (
        "seed",
        "one split of the data, order of batches and draw of weights; the same seed means the same for every setup",
    ),
    ("target", "the level of a metric at which a net counts as trained"),
    ("steps to target", "the step of the first evaluation at or past the target; of several seeds, the median"),
    (
        "never arrived",
        "a run that did not reach the target within its steps; it counts as infinite and stays in every n",
    ),
    ("baseline", "the setup that the others of its setting are compared with"),
    ("ratio", "steps divided by the baseline's, seed by seed; below 1x is faster"),
    ("interval", "where the true value probably lies: of 100 such 95% intervals, about 95 hold it"),
    (
        "faster, slower",
        "the ratio differs from 1, and the chance to say so of equal setups is at most 5% over all comparisons",
    ),
    ("equivalent", "the ratio lies within 10% of 1, and that is sure; not the same as undecided"),
    ("undecided", "these runs cannot tell: more seeds may"),
    ("p after Holm", "the chance of such a difference between equal setups, corrected for the number of comparisons"),
    (
        "cross-fitted",
        "the learning rate is chosen on some seeds and judged on the others, so that trying more rates is no advantage",
    ),
    ("diverged", "the loss was no longer a finite number"),
)
