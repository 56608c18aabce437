"""The local Data Flow service. It shares wire types, signatures, errors and files with the rest of the package."""
