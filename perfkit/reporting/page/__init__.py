"""``perfkit report``: one HTML file of results, with everything in it."""
