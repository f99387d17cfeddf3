cluster-wrong-gpus = The machine gave { $given } GPU(s) to a lease of { $gpus }, so no worker was started in it and the lease is given back.
    Try again; if it happens again, tell the administrators: GPUs may be missing in the configuration of a node.
