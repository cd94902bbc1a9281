"""HTML pages for people: review desk and audit desk."""
