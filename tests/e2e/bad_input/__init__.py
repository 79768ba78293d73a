"""Kinds of bad input as data: what is sent, and what a user would want to be told."""
