"""The way in for programs elsewhere, over HTTP. Of recall it imports `recall.contract` alone."""
