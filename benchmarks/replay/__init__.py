"""What ``scheduling.py`` replays: workloads, the contenders, their runs, and how trials were recorded."""
