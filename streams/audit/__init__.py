"""Compare the log, the index events, Redis and the vector store, and mend what differs through the normal lane."""
