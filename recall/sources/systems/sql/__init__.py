"""Any tables, by a query."""
