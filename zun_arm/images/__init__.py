"""Userlands on disk: recipes, archives, and what their ELF files are."""

from zun_arm.images.build import LABEL_RECIPE, build
from zun_arm.images.convert import convert
from zun_arm.images.elf import ElfFacts, read_elf
from zun_arm.images.limits import ArchiveLimits
from zun_arm.images.measure import Measurement
from zun_arm.images.recipes import Recipe, load_recipe, recipe_names
from zun_arm.images.result import LABEL_ISA, LABEL_PLATFORM, Converted
from zun_arm.images.saved import measure_saved

__all__ = [
    "LABEL_ISA",
    "LABEL_PLATFORM",
    "LABEL_RECIPE",
    "ArchiveLimits",
    "Converted",
    "ElfFacts",
    "Measurement",
    "Recipe",
    "build",
    "convert",
    "load_recipe",
    "measure_saved",
    "read_elf",
    "recipe_names",
]
