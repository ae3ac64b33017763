"""Data cards: the facts of a split, as HTML and as text."""
