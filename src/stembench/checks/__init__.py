"""What is held against something else: files, a second training, published numbers."""
