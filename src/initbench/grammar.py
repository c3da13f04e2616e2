"""Words that depend on a number, for the terminal and the report alike."""


def plural(n: int, word: str, more: str | None = None) -> str:
    """
    >>> plural(1, "arm"), plural(2, "arm"), plural(0, "study", "studies")
    ('1 arm', '2 arms', '0 studies')
    """
    return f"{n:,} {word if n == 1 else more or word + 's'}"


def number(value: float) -> str:
    """A number in six digits, or in as many as tell it from every other.

    >>> number(0.1), number(2.0), number(0.1234567), number(1e-8)
    ('0.1', '2', '0.1234567', '1e-08')
    """
    short = f"{value:g}"
    return short if float(short) == value or value != value else repr(value)
