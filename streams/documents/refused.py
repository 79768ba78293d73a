"""What a document is told when it will not be indexed: the same at the door and in the lane."""

from topics.fields import Refused

__all__ = ["Refused"]
