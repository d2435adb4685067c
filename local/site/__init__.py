"""An example of a listing site: it gets its pictures from the resolver, and never sees a URL of the MLS."""
