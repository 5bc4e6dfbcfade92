"""The engine: where work runs. The tasks don't know whether that is this process, several, Ray or array workers."""

from whence.engine.engine import DEFAULT, Engine, Executor, Report, Task, cores, silent, staged
from whence.engine.processes import one_thread

__all__ = ["DEFAULT", "Engine", "Executor", "Report", "Task", "cores", "one_thread", "silent", "staged"]
