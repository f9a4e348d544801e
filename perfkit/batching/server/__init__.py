"""A real batcher: an asyncio loop around an engine, which the simulator is checked against."""
