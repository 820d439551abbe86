"""What recall's schema consists of: migrations, functions, and how a lost part comes back."""
