"""What an encoder is worth: public and authored tasks, beside the same shape untrained and a linear model."""
