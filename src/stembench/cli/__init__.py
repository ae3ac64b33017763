"""The command line: calls everything, and nothing calls it."""
