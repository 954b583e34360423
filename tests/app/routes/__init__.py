"""Tests of the routes, over HTTP."""
