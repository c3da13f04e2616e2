"""The two ways a request can be refused; everything else that goes wrong is a bug."""


class InputError(ValueError):
    """Wrong input: the message is one line that says what came and what is allowed.

    >>> raise InputError("seeds=0: at least one seed is needed, e.g. seeds=10")
    Traceback (most recent call last):
    initbench.errors.InputError: seeds=0: at least one seed is needed, e.g. seeds=10
    """


class NotApplicable(Exception):
    """An initializer or a sharing scheme that does not apply to this net; the arm is listed with this reason."""
