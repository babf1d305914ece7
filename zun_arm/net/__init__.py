"""The only room that speaks to the kernel about links: bridge, veth, gate, leases, filter."""
