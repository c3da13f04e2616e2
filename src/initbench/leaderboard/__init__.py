"""One table of every initializer, made from entry files that anybody can add: `python -m initbench.leaderboard`.

The way of a page: `entry` (a file, checked, never executed) -> `runs` (frames) -> `judged` (verdicts by setting and over
settings), `standing` (scores and ranks with their bootstrap), `profile` -> `page`. `training` makes entries by the package's own
command; `settings` says on what grid.
"""
