"""What is in the database, as values: compact records of streams, and reading them in one pass. Knows no features."""
