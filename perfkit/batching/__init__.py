"""Request batching: arrivals, policies, service times, and the theory they are held against."""
