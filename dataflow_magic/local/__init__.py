"""The local Data Flow service. Shares wire types, signatures, errors and files with the client side, nothing else."""
