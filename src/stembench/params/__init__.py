"""params.yaml to a list of fully resolved runs."""
