"""Tests of batches and of the service on Ray."""
