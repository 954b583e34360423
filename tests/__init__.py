"""Tests mirror app/ and training/; what needs both halves or a real process stands beside those folders."""
