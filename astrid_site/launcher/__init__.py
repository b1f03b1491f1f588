"""Starts a whole installation on one machine: above all apps, as it needs several."""
