"""An edited catalog that takes a share of the traffic, and the test that says what it is worth."""
