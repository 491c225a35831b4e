"""Search methods, ours and others, on the same problems."""
