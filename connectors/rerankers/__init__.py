"""Adapters that judge question and passage together."""
