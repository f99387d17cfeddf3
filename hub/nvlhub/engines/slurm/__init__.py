"""Tasks as jobs of Slurm."""
