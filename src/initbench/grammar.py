"""Words that depend on a number, for the terminal and the report alike."""


def plural(n: int, word: str, more: str | None = None) -> str:
    """
    >>> plural(1, "arm"), plural(2, "arm"), plural(0, "study", "studies")
    ('1 arm', '2 arms', '0 studies')
    """
    return f"{n:,} {word if n == 1 else more or word + 's'}"
