"""Each file on disk is one type, read and written here."""
