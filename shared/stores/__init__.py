"""The stores: MongoDB holds all records, object storage holds the files of copies.

The modules here define each store as a protocol. `mongo` and `minio_objects` implement them, `memory` does for tests.
"""
