"""What does a connection to MongoDB ask for, whatever the URI says?"""

from pymongo import ReadPreference

from shared.stores import mongo


async def test_reads_and_writes_need_a_majority_and_the_primary() -> None:
    uri = "mongodb://127.0.0.1:9/?w=1&journal=false&readPreference=secondaryPreferred&readConcernLevel=local"
    async with mongo.connect(uri, "d") as database:
        listings = database["listings"]
        assert listings.write_concern.document == {"w": "majority"}
        assert listings.read_concern.document == {"level": "majority"}
        assert listings.read_preference == ReadPreference.PRIMARY
        assert listings.codec_options.tz_aware
