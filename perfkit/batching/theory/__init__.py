"""What queueing theory knows of batching: pure functions of numbers, one module an idea."""
