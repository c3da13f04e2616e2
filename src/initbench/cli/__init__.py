"""The terminal: flags, help, progress, streams."""
