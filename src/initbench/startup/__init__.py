"""What makes a command start and end sooner: late imports, processes that import ahead."""
