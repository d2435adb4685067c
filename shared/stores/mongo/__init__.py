"""The stores in MongoDB. Only this package imports Motor and PyMongo."""

from shared.stores.mongo.answers import MongoAnswers
from shared.stores.mongo.attempts import MongoAttempts
from shared.stores.mongo.audits import MongoAudits
from shared.stores.mongo.connection import (
    AnswersDatabase,
    Database,
    connect,
    connect_for_answers,
    ping,
    server_time,
)
from shared.stores.mongo.handled_dead_letters import MongoHandledDeadLetters
from shared.stores.mongo.indexes import INDEXES, apply_indexes, missing_indexes
from shared.stores.mongo.leases import MongoLeases
from shared.stores.mongo.ledgers import MongoLedgers
from shared.stores.mongo.listings import MongoListings
from shared.stores.mongo.no_photos import MongoNoPhotos
from shared.stores.mongo.pushed_keys import MongoPushedKeys
from shared.stores.mongo.refreshes import MongoRefreshes
from shared.stores.mongo.removal_holds import MongoRemovalHolds
from shared.stores.mongo.removals import MongoRemovals
from shared.stores.mongo.sweeps import MongoSweeps
from shared.stores.mongo.throughputs import MongoThroughputs
from shared.stores.mongo.tokens import MongoTokens
from shared.stores.mongo.workers import MongoWorkers

__all__ = [
    "INDEXES",
    "AnswersDatabase",
    "Database",
    "MongoAnswers",
    "MongoAttempts",
    "MongoAudits",
    "MongoHandledDeadLetters",
    "MongoLeases",
    "MongoLedgers",
    "MongoListings",
    "MongoNoPhotos",
    "MongoPushedKeys",
    "MongoRefreshes",
    "MongoRemovalHolds",
    "MongoRemovals",
    "MongoSweeps",
    "MongoThroughputs",
    "MongoTokens",
    "MongoWorkers",
    "apply_indexes",
    "connect",
    "connect_for_answers",
    "missing_indexes",
    "ping",
    "server_time",
]
