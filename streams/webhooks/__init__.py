"""Telling endpoints of tenants what became of their questions."""
