"""What we talk to: ports and one adapter per system, with in-memory adapters that pass the same contract tests."""
