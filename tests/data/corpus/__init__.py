"""Tests of the labelled orders and of what is frozen from them."""
