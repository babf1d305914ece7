"""What this machine is: model, instruction set, limits, emulators."""
