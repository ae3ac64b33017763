"""Raw tables to split directories, in bounded memory."""
