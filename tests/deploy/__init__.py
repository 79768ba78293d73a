"""Tests of the local stack's set-up and running, without the servers themselves."""
