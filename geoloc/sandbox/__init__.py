"""A synthetic world: overhead imagery and ground photos of the same, seeded, place."""
