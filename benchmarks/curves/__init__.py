"""What ``fidelity.py`` compares: problems whose trials are trained step by step, the contenders, and what came of them."""
