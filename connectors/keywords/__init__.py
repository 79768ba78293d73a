"""Adapters of keyword search."""
