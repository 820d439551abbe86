"""What travels between recall and whoever uses it: values, limits, refusals, errors.

Imports pydantic and nothing heavier: a client needs this room, and no model and no driver.
"""
