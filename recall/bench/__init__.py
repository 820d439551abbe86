"""`recall bench`: how fast recall is here, each figure beside what it could be at best.

A figure without its floor says how fast the machine is. Here the floor of each is measured in the
same minute, on the same rows: the engine by itself, the SQL by itself, a bare COPY, a bare walk of
HNSW. The ratio is recall's own doing, and survives a busy machine.
"""
