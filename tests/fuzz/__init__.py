"""Hostile and odd input by the thousand: `python -m tests.fuzz all --minutes 60`.

Whatever comes in, a command succeeds or refuses in one printable line; anything else is a finding. See judge.py.
"""
