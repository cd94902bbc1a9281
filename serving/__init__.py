"""Answers calls: JSON for software, pages for people."""
