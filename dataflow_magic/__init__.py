"""Run, watch and understand NAVER Cloud Data Flow jobs from a Jupyter notebook."""
