"""Knows and keeps: the nouns, the reference texts, the corpus and the store; imports no other room."""
