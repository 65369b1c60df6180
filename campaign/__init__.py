"""The fault campaign: a real hub, real clients, and somebody who kills processes at random. See docs/faults.md."""
