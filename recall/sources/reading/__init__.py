"""What every source reads with: rows, contents, times, files."""
