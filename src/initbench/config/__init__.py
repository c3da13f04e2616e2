"""What can be asked for: one arm and a study as dataclasses, their groups and tables, typed and checked."""
