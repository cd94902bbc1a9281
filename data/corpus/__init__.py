"""Labelled work orders in, frozen snapshots out."""
