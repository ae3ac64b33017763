"""Data sets: from raw files to split directories of arrays."""
