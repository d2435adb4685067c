"""Where things are kept: MongoDB is the truth, object storage holds bytes. One door for each vendor."""
