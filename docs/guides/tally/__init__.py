"""Tally, the device of the guides: description, model and driver of a function that adds up numbers in memory."""
