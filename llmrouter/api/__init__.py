"""HTTP in and out: parsing, envelopes, streams. One handler file a resource."""
