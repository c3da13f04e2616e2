"""A person's own code: the one place where it runs, the files it consists of, installed packages."""
