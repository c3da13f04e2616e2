"""One command from its plan to its results: keys, labels, launch, workers, frames."""
