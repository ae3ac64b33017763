"""One file a section of the report: its words, rows and figure."""
