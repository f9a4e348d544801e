"""Request batching simulated: policies, arrivals, engines, and the theory that they answer to."""
