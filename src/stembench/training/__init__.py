"""A model is fitted: sees the training and the validation part, never the test part."""
