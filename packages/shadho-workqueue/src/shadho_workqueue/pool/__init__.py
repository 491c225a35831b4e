"""What runs in the process that keeps a pool of workers."""
