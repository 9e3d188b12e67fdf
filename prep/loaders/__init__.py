"""Verified batches for training frameworks, from certified data only."""
