"""Thresholds of usage: whose figures are looked at, and what the log is told of."""
