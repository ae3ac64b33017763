"""One cell: trained, tested, recorded."""
