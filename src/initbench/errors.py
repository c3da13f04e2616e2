"""The two ways to refuse a request, and their one form of words; anything else that goes wrong is a bug."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 120  # characters of a value that a message repeats


class InputError(ValueError):
    """Wrong input: the message is one line, `KEY=VALUE: what is wrong; what to do`.

    A ValueError, so that `except ValueError` catches it. The commands print the line and exit with status 2.

    Examples:
        >>> raise refusal("seeds=0", "no seed at all", "give at least one, e.g. seeds=10")
        Traceback (most recent call last):
        initbench.errors.InputError: seeds=0: no seed at all; give at least one, e.g. seeds=10
    """


class NotApplicable(Exception):
    """An initializer or sharing scheme does not apply to this net; in a sweep the arm is listed with this reason.

    Examples:
        >>> import initbench as ib
        >>> ib.build(["sharing=all", "model.depth=1"])
        Traceback (most recent call last):
        initbench.errors.NotApplicable: sharing=all: no hidden-to-hidden layers at model.depth=1; set model.depth=2 or more
    """


def refusal(what: object, wrong: object, do: object) -> InputError:
    """The InputError that says in one printable line what was given, what is wrong with it and what to do instead.

    >>> str(refusal("data.path=a\\nb.npz", "no such file", "name an existing .npz file"))
    'data.path=a\\\\nb.npz: no such file; name an existing .npz file'
    """
    return InputError(template(what, wrong, do))


def inapplicable(what: object, wrong: object, do: object) -> NotApplicable:
    """The NotApplicable of the same form.

    >>> str(inapplicable("init=dirac", "it needs a convolution kernel", "use init=eye for an MLP"))
    'init=dirac: it needs a convolution kernel; use init=eye for an MLP'
    """
    return NotApplicable(template(what, wrong, do))


def template(what: object, wrong: object, do: object) -> str:
    """`KEY=VALUE: what is wrong; what to do`, in one line of printable text."""
    what, wrong, do = map(masked, (what, wrong, do))
    came = printable(what)
    if came != came.strip() or not came:
        came = repr(came)  # else it would not be seen
    return f"{came}: {printable(wrong)}; {printable(do)}"


def every(reasons: Iterable[object]) -> InputError:
    """The refusal of a command none of whose arms applies: their reasons, each once.

    >>> str(every(["a: wrong; mend it", "a: wrong; mend it"]))
    'a: wrong; mend it'
    """
    return InputError("; ".join(dict.fromkeys(str(reason) for reason in reasons)))


def renamed(error: InputError, old: str, new: str) -> InputError:
    """The same refusal under the name that a person typed.

    >>> str(renamed(refusal("baseline=eyes", "no such setup", "name one"), "baseline=", "--focus "))
    '--focus eyes: no such setup; name one'
    """
    return InputError(str(error).replace(old, new, 1))


def shown(value: object) -> str:
    """A value as a message repeats it: one line, printable, not longer than LONGEST.

    >>> shown("a\\tb"), len(shown("a" * 1000))
    ('a\\\\tb', 120)
    """
    text = printable(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def printable(value: object) -> str:
    """Text in one line, with control characters and lone surrogates escaped as Python writes them.

    >>> printable("李明 \\x1b[31m \\ud800")
    '李明 \\\\x1b[31m \\\\ud800'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value))


SECRET_KEY = r"(?:[\w.-]*(?:pass|pwd|token|secret|api_?key|credential|signature)[\w.-]*|auth|key|sig)"


def masked(text: object) -> str:
    """Text without the passwords and tokens of the addresses in it: a tracking URI may hold some.

    >>> masked("track.uri=http://alice:secret@host:5000"), masked("http://host:5000/a@b")
    ('track.uri=http://alice:***@host:5000', 'http://host:5000/a@b')
    >>> masked("https://a1b2c3@host"), masked("postgresql://bob@host/db?sslpassword=x&sslmode=require")
    ('https://***@host', 'postgresql://bob@host/db?sslpassword=***&sslmode=require')
    """
    text = re.sub(r"(://[^\s:/@?#]*):[^\s/]*@", r"\1:***@", str(text))
    # a slash in a password that nobody has escaped; after a port it is that of a path
    text = re.sub(r"(://[^\s:/@?#]*):(?!\*\*\*@|\d*(?:[/?#\s]|$))\S*?@", r"\1:***@", text)
    text = re.sub(r"(?i)(\bhttps?://)[^\s/:@?#]+@", r"\1***@", text)  # a token in the place of a name
    return re.sub(rf"(?i)([?&;]{SECRET_KEY}=)[^&;\s'\"]*", r"\1***", text)


def one_line(error: object, limit: int = 200) -> str:
    """The first line of a message that says something.

    >>> one_line(ValueError("no such host\\nsecond line"))
    'no such host'
    """
    lines = [line.strip() for line in masked(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
