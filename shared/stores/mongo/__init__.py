"""The door to MongoDB: the only package that knows Motor and PyMongo. A module a collection, or a few alike."""

from shared.stores.mongo.answers import MongoAnswers
from shared.stores.mongo.audits import MongoAudits
from shared.stores.mongo.budgets import MongoBudgets
from shared.stores.mongo.connection import (
    AnswersDatabase,
    Database,
    connect,
    connect_for_answers,
    ping,
    server_time,
)
from shared.stores.mongo.freezes import MongoFreezes
from shared.stores.mongo.indexes import INDEXES, apply_indexes, missing_indexes
from shared.stores.mongo.leases import MongoLeases
from shared.stores.mongo.listings import MongoListings
from shared.stores.mongo.paces import MongoPaces
from shared.stores.mongo.records import MongoAttempts, MongoMarks, MongoRemovals
from shared.stores.mongo.sweeps import MongoSweeps

__all__ = [
    "INDEXES",
    "AnswersDatabase",
    "Database",
    "MongoAnswers",
    "MongoAttempts",
    "MongoAudits",
    "MongoBudgets",
    "MongoFreezes",
    "MongoLeases",
    "MongoListings",
    "MongoMarks",
    "MongoPaces",
    "MongoRemovals",
    "MongoSweeps",
    "apply_indexes",
    "connect",
    "connect_for_answers",
    "missing_indexes",
    "ping",
    "server_time",
]
