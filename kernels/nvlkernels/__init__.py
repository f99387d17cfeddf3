"""The notebook side of nvlhub: kernels that hold a lease while they live."""
