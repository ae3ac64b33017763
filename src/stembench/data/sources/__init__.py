"""Raw files to one lazy table of columns, a module per format."""
