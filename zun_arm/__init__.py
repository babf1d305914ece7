"""zun-arm: ARMv7 and ARMv8 userlands as containers, on boards without KVM and on x86 laptops."""

__version__ = "0.1.0"
