"""Tests of the door, on the in-memory log and, where marked, on real Kafka."""
