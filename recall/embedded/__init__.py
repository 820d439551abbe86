"""The Postgres that recall carries: a cluster on disk, and the keeper that runs it."""
