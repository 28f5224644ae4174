"""Simulated scanners, each in a process of its own, for trials, demonstrations and tests."""
