"""Measurements that the README and docs/performance.md quote; each is one command."""
