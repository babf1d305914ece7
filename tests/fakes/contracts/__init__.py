"""What every fulfilment of a seam does: the fakes in tests/contract, Docker and the kernel in tests/integration.

A test class inherits one of these and gives its fixtures.
"""
