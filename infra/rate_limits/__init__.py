"""Rates that several processes keep together: who has asked how often, wherever they asked."""
