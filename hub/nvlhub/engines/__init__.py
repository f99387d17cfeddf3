"""What really runs things, behind one contract (:mod:`nvlhub.engines.base`)."""
