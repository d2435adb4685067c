"""An example of a listing site: it asks the resolver for its pictures and never sees an MLS's URL."""
