"""Released weights: where they come from, how they are read, how they are put into our networks."""
