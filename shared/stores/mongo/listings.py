"""All queries on the listings in MongoDB, in one class."""

from shared.stores.mongo.listing_reports import MongoListingReports
from shared.stores.mongo.listing_search import MongoListingSearch
from shared.stores.mongo.removal_queue import MongoRemovalQueue


class MongoListings(MongoListingReports, MongoRemovalQueue, MongoListingSearch):
    """Reads and writes the listings in MongoDB, with all queries on them in one class.

    Implements ListingRecords, ReleaseQueue, RemovalQueue, ListingSearch and ListingReports on the collection
    `listings`.
    """
