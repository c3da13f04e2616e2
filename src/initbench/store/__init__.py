"""What is kept on disk: parts of finished runs, histories, study folders, and the one reader of them."""
