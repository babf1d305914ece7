"""What this machine is: its model, cores, instruction sets, limits and emulators, and which userlands it runs."""

from zun_arm.board.detect import as_dict, describe
from zun_arm.board.runs import run_for
from zun_arm.board.saved import save

__all__ = ["as_dict", "describe", "run_for", "save"]
