"""Request batching simulated: policies, arrivals and service times in, latencies out."""
