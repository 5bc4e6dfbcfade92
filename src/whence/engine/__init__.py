"""The engine: where work runs. The tasks don't know whether that is this process or several on this machine."""

from whence.engine.engine import DEFAULT, Engine, Report, Task, cores, silent, staged
from whence.engine.processes import one_thread

__all__ = ["DEFAULT", "Engine", "Report", "Task", "cores", "one_thread", "silent", "staged"]
