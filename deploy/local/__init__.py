"""The local stack: real Kafka, Weaviate and Redis, the workers and the gateway, on a machine that has only Python."""
