"""Chats as Telegram Desktop exports them: which message brought which file.

``message``  one message as evidence, from a record whose values may be of any type
``repair``   ``result.json`` as it is really written: invalid escapes, cut short, damaged
``files``    the files that an export names, looked up below its folder
``export``   ``result.json`` read
``pages``    ``messages.html`` read
"""

from __future__ import annotations

from .export import RESULT, Export, is_export, read_export
from .message import Attachment, Message
from .pages import DECORATION, is_page, read_pages

__all__ = [
    "DECORATION",
    "RESULT",
    "Attachment",
    "Export",
    "Message",
    "is_export",
    "is_page",
    "read_export",
    "read_pages",
]
