"""One picture: set up, plan, run each size, finish."""
