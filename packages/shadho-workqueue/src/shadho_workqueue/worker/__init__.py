"""What runs on the machine of a worker."""
