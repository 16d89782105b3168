"""The commands that emulate, boot, watch and steer: ``serve``, ``vm``, ``trace``, ``ctl``."""
