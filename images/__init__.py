"""Userland recipes and the files they put into images; data, read by ``zun_arm.images.recipes``."""
