"""A dead letter: the original record, with the reason in the headers Kafka Connect uses.

Key, value and headers stay as they were, so that a redrive needs nothing else.
"""

import time

from streams.outcome import Output, Record, Refuse, Stage
from topics.spec import dead_letters_of

PREFIX = "__connect.errors."
_MAX_MESSAGE = 4000  # characters


def dead_letter(stage: Stage, record: Record, refused: Refuse) -> Output:
    """The letter, for the dead-letter topic of what the stage reads."""
    errors = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "connector.name": stage.group,
        "stage": stage.name.upper(),
        "exception.class.name": refused.reason,
        "exception.message": refused.message[:_MAX_MESSAGE],
        "timestamp": str(record.timestamp),
        "status": refused.status,
        "at": str(int(time.time() * 1000)),
    }
    if record.retry:
        errors["first.failed"] = str(record.retry.first_failed)
    if refused.omit_value:
        errors["value.omitted"] = "true"
    headers = dict(record.headers) | {f"{PREFIX}{name}": text.encode() for name, text in errors.items()}
    value = None if refused.omit_value else record.value
    return Output(dead_letters_of(stage.reads), record.key or b"", value, stage.lane_partition(record), headers)
