"""What moves: records, keys, headers and topic specifications.  Imports nothing of ours."""
