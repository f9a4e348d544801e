"""Request batching: arrivals, policies simulated and, where theory knows them, computed exactly."""
