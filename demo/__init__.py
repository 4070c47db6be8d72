"""The main job, shown: on a real kernel in the lab guest (`make demo`), or on a simulated host (`make run`)."""
