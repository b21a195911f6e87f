"""Thousands of bad inputs, and an oracle that says which of them found a fault.

`python -m tests.fuzz --minutes 60` by hand; `test_fuzz.py` runs a short part of it.
An input is made from its kind and a number alone, so both repeat it.
"""
