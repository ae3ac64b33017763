"""The tables in Markdown and LaTeX."""
