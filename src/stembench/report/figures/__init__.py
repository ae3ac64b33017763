"""What the figures share: style, SVG, embedding in a page."""
