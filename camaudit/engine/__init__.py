"""Forward passes of many masked images: exact first, then fast, within a memory budget."""

from camaudit.engine.forwards import Engine, Forwards, Precision, prepare

__all__ = ["Engine", "Forwards", "Precision", "prepare"]
