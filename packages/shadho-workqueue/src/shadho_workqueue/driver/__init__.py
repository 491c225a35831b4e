"""What runs in the process of the search."""
