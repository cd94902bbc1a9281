"""Makes models: from corpora and labels to a signed bundle."""
