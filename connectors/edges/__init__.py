"""Edge caches: who is told what to forget."""
