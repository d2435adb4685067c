"""What a process needs to ask the APIs of all feeds: their tokens, and their quotas."""

from dataclasses import dataclass

from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.origin_budget.budget import OriginBudget
from shared.reso.tokens import TokenIssuer, TokenStores
from shared.secret_values import read_secret
from shared.stores import mongo


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """The access of one process to the APIs of all feeds."""

    budget: OriginBudget
    """Counts the requests to all APIs."""
    stores: TokenStores
    worker: str
    """The name of this process."""

    @classmethod
    def of(cls, database: mongo.Database, budget: OriginBudget, worker: str) -> "ApiAccess":
        """Return the access of the process named `worker`, whose only budget is `budget`, with tokens in the database.

        A second budget would free the slots of the first, as if they were those of an earlier run.
        """
        return cls(budget, TokenStores(mongo.MongoTokens(database), mongo.MongoLeases(database)), worker)

    def token(self, feed: Feed) -> str | TokenIssuer:
        """Return the token of the feed's API, "" if it has none; or the issuer of its tokens if they are requested.

        The secrets are read from the environment. Raises SecretUnreadable.
        """
        if not feed.reso.auth.uses_token_endpoint:
            return read_secret(feed.reso_token_env) if feed.reso_token_env else ""
        secrets = {name: read_secret(name) for name in feed.reso_secret_names.values()}
        return TokenIssuer(feed, secrets, self.stores, self.worker, utc_now)
