"""Columns on disk and what is asked of them: one door, replaceable by a library."""
