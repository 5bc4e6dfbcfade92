"""Where work runs: this process or processes on this machine; the tasks don't know which."""

from whence.engine.local import Report, Task, device, one_thread, run, silent, workers_here

__all__ = ["Report", "Task", "device", "one_thread", "run", "silent", "workers_here"]
