"""Decides: one path from the text of a work order to a decision."""
