"""Adapters of caches that may forget."""
