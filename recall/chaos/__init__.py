"""Trouble made on purpose: a front that stands in for Neon's, and a run that kills and heals."""
