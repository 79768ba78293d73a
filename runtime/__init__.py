"""How it runs: settings, logs, metrics, clock, retry.  Knows no topic and no system we talk to."""
