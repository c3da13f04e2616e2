"""From what a person types to arms: read, refused where it has no effect, composed by Hydra."""
