"""What machines offer: probing them, and grouping workers into compute classes."""
