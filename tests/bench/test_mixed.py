"""The benchmark of mixed files counts what `freshet publish` says."""

from bench.mixed import read_summary

SAID = """\
12:00:00 3 published, 0 deleted
7 published, 2 unchanged, 1 deleted, 3 failed
  4 skipped: not a format that is read: .png
  2 failed: dead-lettered: it is encrypted
    docs/a.pdf
    docs/b.pdf
  1 failed: is empty
    docs/c.txt
"""


def test_every_file_is_counted_once() -> None:
    """What was sent and refused is counted as published, what was never sent as itself."""
    said = read_summary(SAID)
    assert (said.published, said.unchanged, said.deleted, said.failed) == (7, 2, 1, 3)
    assert said.refused == {"dead-lettered: it is encrypted": 2}
    assert said.unsent == {"is empty": 1}
    assert said.files == 7 + 2 + 4 + 1


def test_the_last_summary_counts() -> None:
    """Of two summaries in one output the last is read, with its own reasons only."""
    said = read_summary(SAID + "0 published, 9 unchanged, 0 deleted, 0 failed\n")
    assert said.files == 9 and not said.refused
