"""Finished runs to tables of numbers: comparisons, ranks, power, transfer."""
