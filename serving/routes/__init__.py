"""JSON routes, one resource a file."""
