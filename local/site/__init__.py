"""An example of a listing site: it gets its pictures from the resolver, and never the URLs of the MLS."""
