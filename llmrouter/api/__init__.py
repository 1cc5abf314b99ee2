"""The HTTP surface: bytes in, bytes out, and the guards in front of the gateway."""
