"""Training: a student overhead network that predicts what a teacher says of ground photos."""
