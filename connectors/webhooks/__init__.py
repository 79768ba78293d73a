"""Calling endpoints of tenants: signatures, and a way out that leads to checked addresses only."""
