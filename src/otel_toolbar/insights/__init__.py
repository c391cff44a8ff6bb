"""Findings: pure functions from facts to conclusions."""
