"""What every room stands on: settings, URLs, named statements, faults, supervision."""
